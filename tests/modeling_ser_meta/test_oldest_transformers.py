"""A model saved under this Transformers, in a process with the oldest one that is supported.

`OLDEST_PYTHON` is that process's interpreter; it has what `tests/oldest.txt` lists, and does not look at this package.
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import transformers

import ser_meta.modeling_ser_meta as room

PROGRAM = """
import json, sys
sys.modules["ser_meta"] = None
import soundfile, torch, transformers
from transformers import AutoModel, AutoModelForAudioClassification, AutoProcessor, pipeline

folder, recording, options = sys.argv[1], sys.argv[2], {"trust_remote_code": True}
results = {"transformers": transformers.__version__}
# first, while no other class has brought its files yet
results["ours"] = pipeline("speech-emotion-recognition", model=folder, **options)(recording)
samples, rate = soundfile.read(recording, dtype="float32")
inputs = AutoProcessor.from_pretrained(folder, **options)([samples, samples[:4000]], sampling_rate=rate)
for auto_class in (AutoModel, AutoModelForAudioClassification):
    model = auto_class.from_pretrained(folder, **options).eval()
    with torch.no_grad():
        output = model(**inputs)
    results[auto_class.__name__] = {name: logits.tolist() for name, logits in output.task_logits.items()}
results["stock"] = pipeline("audio-classification", model=folder, **options)(samples)
print(json.dumps(results))
"""

ROOM = Path(room.__file__).parent
ENTRIES = ("configuration_ser_meta", "modeling_ser_meta", "processing_ser_meta", "pipeline_ser_meta")


def imported(name: str) -> set[str]:
    """The files beside it that a file names."""
    tree = ast.parse((ROOM / f"{name}.py").read_text(encoding="utf-8"))
    return {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level}


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_file_that_is_loaded_names_all_that_it_needs(entry):
    """From a local folder, transformers 4 takes along what the file itself names, not what those files name."""
    for name in imported(entry):
        assert imported(name) <= imported(entry) | {entry}, name


def run(python: str, home: Path, *arguments: str) -> dict:
    # the packages laid over this interpreter's own, if any, are not the other one's
    environment = {
        name: value for name, value in os.environ.items() if python == sys.executable or name != "PYTHONPATH"
    }
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "HF_MODULES_CACHE": str(home / "modules")}
    command = [python, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_oldest_transformers_gives_the_same(finished_run, speech_table, tmp_path_factory):
    oldest = os.environ.get("OLDEST_PYTHON")
    if not oldest:
        pytest.skip("OLDEST_PYTHON names no interpreter with tests/oldest.txt installed")
    recording = speech_table.parent / "emil-angry-scripted.wav"
    assert soundfile.info(recording).samplerate == 16_000
    results = [
        run(python, tmp_path_factory.mktemp("home"), str(finished_run / "model"), str(recording))
        for python in (sys.executable, oldest)
    ]
    newest, old = (result.pop("transformers") for result in results)
    assert newest == transformers.__version__ and old.startswith("4.57.")
    assert_close(*results)


def assert_close(first: object, second: object) -> None:
    """Nested lists and dicts of numbers and words: the same words, numbers within 1e-5."""
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        first, second = list(first.values()), list(second.values())
    if isinstance(first, list):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_close(one, other)
    else:
        assert first == (pytest.approx(second, abs=1e-5) if isinstance(first, float) else second)
