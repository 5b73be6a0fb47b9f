"""What is installed, what works, and what is missing for which feature."""

import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, version

from .environment import PACKAGES
from .torchaudio_build import find_torchaudio, torchaudio_on_gpu

FEATURES = {
    "espeakng_loader": 'the demo: pip install "ser-meta[demo]"',
    "peft": 'model.adapter: pip install "ser-meta[adapters]"',
    "av": 'M4A, AMR, WebM and video: pip install "ser-meta[media]"',
    "gradio": 'serve: pip install "ser-meta[serve]"',
    "onnx": 'export: pip install "ser-meta[onnx]"',
    "onnxscript": 'export: pip install "ser-meta[onnx]"',
    "onnxruntime": 'export, and to run what it wrote: pip install "ser-meta[onnx]"',
    "tensorboard": "report_to=[tensorboard]: pip install tensorboard",
}
# packages that are slow to import, or that nothing but their absence can spoil
PACKAGES_OF_FEATURES = {
    "websockets": 'listen --port: pip install "ser-meta[listen]"',
    "audformat": 'databases of audformat: pip install "ser-meta[annotations]"',
    "praatio": 'TextGrid: pip install "ser-meta[annotations]"',
    "pympi-ling": 'files of ELAN: pip install "ser-meta[annotations]"',
    "krippendorff": 'how far raters agree: pip install "ser-meta[agreement]"',
    "pyannote.audio": 'predict --diarization: pip install "ser-meta[diarization]"',
}


def examine() -> dict[str, str]:
    """Name -> version, device, or what to do."""
    found = {"python": f"{platform.python_version()} on {platform.platform()}"}
    found |= {name: _version(name) for name in PACKAGES}
    found["torchaudio"] = _torchaudio()
    found["device"] = _device()
    found["resampling"] = _resampling()
    for module, remedy in FEATURES.items():
        found[module] = _importable(module) or f"missing; needed for {remedy}"
    for package, remedy in PACKAGES_OF_FEATURES.items():
        found[package] = _installed(package) or f"missing; needed for {remedy}"
    return found


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _version(package: str) -> str:
    return _installed(package) or f"missing: pip install {package}"


def _importable(module: str) -> str | None:
    try:
        import_module(module)
    except ImportError:
        return None
    except OSError as error:  # of what it imports, such as a torchaudio for another torch
        return f"does not load ({str(error).splitlines()[0]})"
    packages = packages_distributions().get(module, [module.replace("_", "-")])
    return _version(packages[0])  # onnxruntime-gpu has the module onnxruntime too


def _torchaudio() -> str:
    """A build for another torch is worse than none: Transformers imports it wherever it is installed, and dies."""
    build = find_torchaudio()
    if build is None:
        return "not installed, and not needed"
    if build.fault:
        return (
            f"{build.version} is BROKEN ({build.fault}): it was built for another torch than yours, and "
            "Transformers fails with it. Mend it with: pip uninstall torchaudio"
        )
    return build.version


def _resampling() -> str:
    """What resamples and perturbs the speed of a training's recordings."""
    build = torchaudio_on_gpu()
    return f"soxr; torchaudio {build.version} with data.resampler=torchaudio" if build else "soxr"


def _device() -> str:
    from .device import device_words

    return device_words()
