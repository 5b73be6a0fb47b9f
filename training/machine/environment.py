"""What a run was made with: versions and hardware."""

import platform
from importlib.metadata import version

import torch

PACKAGES = ("ser-meta", "torch", "transformers", "datasets", "accelerate", "huggingface_hub", "numpy")


def environment() -> dict[str, str]:
    """Versions of what computes, and the device's name."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    return {
        **{name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "device": device,
        "threads": str(torch.get_num_threads()),
    }
