"""What is installed, what works, and what is missing for which feature."""

import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, packages_distributions, version

from .environment import PACKAGES

FEATURES = {
    "espeakng_loader": 'the demo: pip install "ser-meta[demo]"',
    "peft": 'model.adapter: pip install "ser-meta[adapters]"',
    "gradio": 'serve: pip install "ser-meta[serve]"',
    "onnx": 'export: pip install "ser-meta[onnx]"',
    "onnxscript": 'export: pip install "ser-meta[onnx]"',
    "onnxruntime": 'export, and to run what it wrote: pip install "ser-meta[onnx]"',
    "tensorboard": "report_to=[tensorboard]: pip install tensorboard",
}


def examine() -> dict[str, str]:
    """Name -> version, device, or what to do."""
    found = {"python": f"{platform.python_version()} on {platform.platform()}"}
    found |= {name: _version(name) for name in PACKAGES}
    found["torchaudio"] = _torchaudio()
    found["device"] = _device()
    for module, remedy in FEATURES.items():
        found[module] = _importable(module) or f"missing; needed for {remedy}"
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return f"missing: pip install {package}"


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
    try:
        installed = version("torchaudio")
    except PackageNotFoundError:
        return "not installed, and not needed"
    try:
        import_module("torchaudio")
    except (ImportError, OSError) as error:
        return (
            f"{installed} is BROKEN ({str(error).splitlines()[0]}): it was built for another torch than yours, and "
            "Transformers fails with it. Mend it with: pip uninstall torchaudio"
        )
    return installed


def _device() -> str:
    from .device import device_words

    return device_words()
