"""What torch computes on here."""

import platform

import torch


def without_gpu() -> bool:
    """Whether there is no GPU, of NVIDIA, AMD or Apple, that this torch can use."""
    return not (torch.cuda.is_available() or torch.backends.mps.is_available())


def device_name() -> str:
    """The device, as a run records it."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.machine()} {'CPU' if without_gpu() else 'Apple GPU'}"


def device_words() -> str:
    """All devices, in words."""
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return f"{len(names)} GPU: {', '.join(names)}"
    return f"CPU, {torch.get_num_threads()} threads" if without_gpu() else "Apple GPU"
