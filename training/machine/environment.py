"""What a run was made with: versions and hardware."""

import platform
from importlib.metadata import version

PACKAGES = (
    *("ser-meta", "torch", "transformers", "datasets", "accelerate", "huggingface_hub", "safetensors", "numpy"),
    *("soundfile", "soxr", "jiwer"),
)
"""What every result depends on."""


def environment() -> dict[str, str]:
    """Versions of what computes, and the device's name."""
    import torch  # the doctor reads PACKAGES also where torch does not load

    from .device import device_name
    from .torchaudio_build import torchaudio_on_gpu

    torchaudio = torchaudio_on_gpu()
    return {
        **{name: version(name) for name in PACKAGES},
        **({"torchaudio": torchaudio.version} if torchaudio else {}),
        "python": platform.python_version(),
        "device": device_name(),
        "threads": str(torch.get_num_threads()),
    }
