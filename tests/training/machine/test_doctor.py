import json
import os
import subprocess
import sys
from importlib.metadata import distributions, version
from importlib.util import find_spec

import pytest

from ser_meta.training.machine.doctor import examine


@pytest.fixture
def broken_torchaudio(tmp_path):
    """What `pip install torchaudio` can leave behind: an installed package that dies when it is imported."""
    package, information = tmp_path / "torchaudio", tmp_path / "torchaudio-2.11.0.dist-info"
    package.mkdir()
    (package / "__init__.py").write_text('raise OSError("libc10_cuda.so: cannot open shared object file")\n')
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: torchaudio\nVersion: 2.11.0\n")
    return tmp_path


def test_a_broken_torchaudio_is_explained(broken_torchaudio):
    command = [sys.executable, "-m", "ser_meta.training", "doctor", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(broken_torchaudio)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["torchaudio"]
    for part in ("2.11.0 is BROKEN", "libc10_cuda.so", "pip uninstall torchaudio"):
        assert part in said
    assert json.loads(done.stdout)["resampling"] == "soxr"
    assert "\n" not in said


def test_what_is_missing_is_named_with_what_it_is_for(monkeypatch):
    installed = {found.metadata["Name"].lower() for found in distributions()}
    if "torchaudio" not in installed:
        assert examine()["torchaudio"] == "not installed, and not needed"
    extras = {
        "espeakng_loader": "demo",
        "gradio": "serve",
        "onnx": "onnx",
        "onnxscript": "onnx",
        "onnxruntime": "onnx",
    }
    for module in extras:
        monkeypatch.setitem(sys.modules, module, None)
    found = examine()
    extras |= {"websockets": "listen", "krippendorff": "agreement", "pyannote.audio": "diarization"}
    extras |= dict.fromkeys(("audformat", "praatio", "pympi-ling"), "annotations")
    extras = {name: extra for name, extra in extras.items() if name not in installed}
    for module, extra in extras.items():
        assert found[module].startswith("missing") and found[module].endswith(f'pip install "ser-meta[{extra}]"')


@pytest.mark.parametrize("name", ["espeakng_loader", "gradio", "onnx", "onnxruntime", "praatio", "websockets"])
def test_what_is_installed_has_its_version(name):
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    assert examine()[name] == version(name)
