"""A published model by its name in everything that takes one, each in a process of its own with an empty cache."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from loopback_hub import LoopbackHub

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.runs.stages import run_stages

pytestmark = pytest.mark.campaign

CENTRED = ["model.standardize_states=true", "model.center_by=[speaker]", "model.coattention=false"]
CENTRED += [f"stages.{stage}.freeze_layers=all" for stage in ("metadata", "emotion")]
WITHOUT_THE_PACKAGE = """
import json, sys
sys.modules["ser_meta"] = None
from huggingface_hub import snapshot_download
from transformers import pipeline
import soundfile

name, recording = sys.argv[1:]
options = {"model": name, "trust_remote_code": True}
samples, rate = soundfile.read(recording, dtype="float32")
ours = pipeline("speech-emotion-recognition", **options)(recording)
stock = pipeline("audio-classification", **options)(samples)
folder = snapshot_download(name)
sys.path.insert(0, folder)
from handler import EndpointHandler
with open(recording, "rb") as file:
    answered = EndpointHandler(folder)({"inputs": file.read()})
print(json.dumps([ours["emotion"], stock, answered["emotion"]]))
"""


@pytest.fixture(scope="module")
def hub(finished_run, recipe_file, tmp_path_factory):
    """A Hub with a model, and one that is centred by speakers; and the latter's run."""
    centred = tmp_path_factory.mktemp("centred") / "run"
    run_stages(load_recipe(str(recipe_file), CENTRED), centred)
    with LoopbackHub() as hub:
        hub.centred_run = centred
        environment = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_writer"}
        for name, run in (("emotions", finished_run), ("centred", centred)):
            ask(environment, tmp_path_factory.mktemp("home"), "push", run, f"someone/{name}")
        yield hub


@pytest.fixture
def by_name(hub, tmp_path):
    """Runs a command, or a program, in a process that has an empty cache and no token; what it prints."""
    homes = iter(range(100))

    def run(*arguments: object) -> str:
        environment = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
        return ask(environment, tmp_path / f"home-{next(homes)}", *arguments)

    return run


def ask(changes: dict[str, str], home: Path, *arguments: object) -> str:
    program = ["-c", WITHOUT_THE_PACKAGE] if arguments[0] == "without the package" else ["-m", "ser_meta.training"]
    words = [str(argument) for argument in arguments[program[0] == "-c" :]]
    kept = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    environment = {**kept, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home), **changes}
    environment["HF_MODULES_CACHE"] = str(home / "modules")
    command = [sys.executable, *program, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def best(ranked: list[dict]) -> dict[str, float]:
    return {entry["label"]: entry["score"] for entry in ranked}


def test_a_model_by_its_name_in_everything_that_takes_one(by_name, hub, finished_run, speech_table, tmp_path):
    folder, recording = finished_run / "model", speech_table.parent / "emil-angry-scripted.wav"
    expected = by_name("predict", folder, recording, "--json")
    assert by_name("predict", "someone/emotions", recording, "--json") == expected
    print("\npredict: as from the folder, character by character")
    judged = [
        json.loads(by_name("evaluate", model, "table", speech_table, "--json"))["metrics"]
        for model in (folder, "someone/emotions@main")
    ]
    assert judged[1]["emotion"] == judged[0]["emotion"] and set(judged[0]) - set(judged[1]) <= {"speaker"}
    print(f"evaluate: UA {judged[1]['emotion']['ua']:.4f}, from the folder {judged[0]['emotion']['ua']:.4f}")
    by_name("export", "someone/emotions", "--output", tmp_path / "exported")
    command = [sys.executable, tmp_path / "exported" / "runner.py", recording]
    exported = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    scores = best(json.loads(expected)["emotion"])
    assert best(exported["emotion"]) == pytest.approx(scores, abs=1e-4)
    print("export: the runner's scores within 1e-4")
    pattern = speech_table.parent / "finn-*.wav"
    for model, output in ((hub.centred_run / "model", "here"), ("someone/centred", "named")):
        by_name("adapt", model, pattern, "--output", tmp_path / output)
    adapted = [by_name("predict", tmp_path / output, recording, "--json") for output in ("here", "named")]
    assert adapted[0] == adapted[1]
    print("adapt: the adapted model predicts as the one adapted from the folder")
    for answered in json.loads(by_name("without the package", "someone/emotions", recording).splitlines()[-1]):
        assert best(answered) == pytest.approx(scores, abs=1e-6)
    print("both pipelines and handler.py, without the package: the scores within 1e-6")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "served")}
    command = [sys.executable, "-u", "-m", "ser_meta.training", "serve", "someone/emotions", "--port", port]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as page:
        try:
            url = next(line.split()[-1] for line in page.stdout if "http://127.0.0.1" in line)
            assert "someone/emotions" in httpx.get(url).text
        finally:
            page.send_signal(signal.SIGTERM)
    print("serve: the page is called someone/emotions")
    fetched = [path for home in tmp_path.glob("home-*") for path in home.rglob("*.py")]
    assert {path.relative_to(tmp_path).parts[0] for path in fetched} == {"home-9"}  # of what trusts remote code alone
