"""torchaudio: never needed, used where it imports beside a GPU, and known to break Transformers where it does not."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from ...configuration.errors import UserError


class Build(NamedTuple):
    """An installed torchaudio: its version, and why it cannot be imported, or None."""

    version: str
    fault: str | None


def find_torchaudio() -> Build | None:
    """The torchaudio that is installed; the one place that imports it to see whether it can be."""
    try:
        installed = version("torchaudio")
    except PackageNotFoundError:
        return None
    try:
        import_module("torchaudio")
    except (ImportError, OSError) as error:  # built for another torch
        return Build(installed, str(error).splitlines()[0])
    return Build(installed, None)


def torchaudio_on_gpu() -> Build | None:
    """The torchaudio that can resample on a CUDA GPU; None where there is none that imports, or no such GPU."""
    import torch

    build = find_torchaudio() if torch.cuda.is_available() else None
    return build if build and not build.fault else None


def check_resampler(resampler: str) -> None:
    """Raises `UserError` where `data.resampler` asks for what this machine does not have."""
    if resampler == "torchaudio" and torchaudio_on_gpu() is None:
        raise UserError(
            "data.resampler=torchaudio needs a CUDA GPU and a torchaudio that imports, see ser-meta doctor: leave it "
            "at soxr"
        )
