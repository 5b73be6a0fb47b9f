"""`ser-meta demo`: the paper's two stages on speech that espeak-ng speaks on the spot."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ...configuration.recipe_files import load_recipe
from ...configuration.report import Report
from .stages import run_stages

# what a person without this package does with the model; the first line makes sure that it is not there
READ_BACK = """
import sys; sys.modules["ser_meta"] = None
import json
from transformers import AutoModel, pipeline
folder, recording = sys.argv[1:]
assert AutoModel.from_pretrained(folder, trust_remote_code=True).config.model_type == "ser_meta"
recognise = pipeline("speech-emotion-recognition", model=folder, trust_remote_code=True)
print(json.dumps(recognise(recording)))
"""


def run_demo(output: Path, seed: int = 1, resume: bool = False) -> Report:
    """Speaks the corpus into `output/recordings`, trains into `output/run`, and returns the report.

    What the frozen convolutions make of the recordings is computed once, and kept in `output/states`.
    """
    folders = [f"data.root={output / 'recordings'}", f"cache={output / 'states'}"]
    return run_stages(load_recipe("demo", [*folders, f"seed={seed}"]), output / "run", resume)


def unseen_recording(output: Path) -> Path:
    """A recording of the demo's test side."""
    utterance = json.loads((output / "run" / "split.json").read_text(encoding="utf-8"))["test"][0]
    return next((output / "recordings").rglob(f"{utterance}.flac"))


def read_back(model: Path, recording: Path) -> dict[str, Any]:
    """One prediction through `trust_remote_code`, in a fresh process that cannot import this package."""
    command = [sys.executable, "-c", READ_BACK, str(model), str(recording)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the saved model could not be read back: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def sentence(result: dict[str, Any]) -> str:
    """A prediction on one line."""
    parts = []
    for name, value in result.items():
        if isinstance(value, list):
            parts.append(f"{name} {value[0]['label']} ({value[0]['score']:.2f})")
        elif isinstance(value, float):
            parts.append(f"{name} {value:.2f}")
        elif name != "file":
            parts.append(f"{name} {value!r}")
    return ", ".join(parts)
