"""Pushed models, used from the Hub by a process without this package and without a token."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from loopback_hub import LoopbackHub
from transformers import Trainer

FRESH_PROCESS = """
import json, sys
sys.modules["ser_meta"] = None
import torch
from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification, AutoProcessor, pipeline
import soundfile

def use(repository, revision):
    source = {"revision": revision, "trust_remote_code": True}
    samples, rate = soundfile.read("recording.wav", dtype="float32")
    results = {"tasks": list(AutoConfig.from_pretrained(repository, **source).tasks)}
    inputs = AutoProcessor.from_pretrained(repository, **source)(samples, sampling_rate=rate)
    for auto_class in (AutoModel, AutoModelForAudioClassification):
        model = auto_class.from_pretrained(repository, **source).eval()
        assert type(model).__module__.startswith("transformers_modules.")
        with torch.no_grad():
            results[auto_class.__name__] = model(**inputs).logits[0].tolist()
    results["ours"] = pipeline("speech-emotion-recognition", model=repository, **source)("recording.wav")
    results["stock"] = pipeline("audio-classification", model=repository, **source)(samples)
    return results

results = {repository: use(repository, revision) for repository, revision in json.loads(sys.argv[1]).items()}
for snippet in json.loads(sys.argv[2]):
    exec(snippet)
print(json.dumps(results))
"""


@pytest.fixture
def recording(speech_table) -> Path:
    return speech_table.parent / "emil-angry-scripted.wav"


@torch.no_grad()
def expected(folder: Path, recording: Path) -> dict:
    from ser_meta.modeling_ser_meta import SerMetaModel, SerMetaProcessor, SpeechEmotionPipeline

    model, processor = SerMetaModel.from_pretrained(folder).eval(), SerMetaProcessor.from_pretrained(folder)
    samples, rate = soundfile.read(recording, dtype="float32")
    logits = model(**processor(samples, sampling_rate=rate)).logits[0].tolist()
    return {"logits": logits, "ours": SpeechEmotionPipeline(model=model, processor=processor)(str(recording))}


def scores(ranked: list[dict]) -> dict[str, float]:
    return {entry["label"]: entry["score"] for entry in ranked}


def check_same(result: dict, expected: dict) -> None:
    for auto_class in ("AutoModel", "AutoModelForAudioClassification"):
        assert result[auto_class] == pytest.approx(expected["logits"], abs=1e-6)
    assert result["ours"]["transcript"] == expected["ours"]["transcript"]
    for task in ("emotion", "gender", "style"):
        assert scores(result["ours"][task]) == pytest.approx(scores(expected["ours"][task]), abs=1e-6)
    assert scores(result["stock"]) == pytest.approx(scores(expected["ours"]["emotion"]), abs=1e-6)


def test_pushed_models_give_the_same_elsewhere(push, hub, finished_run, recording, tmp_path):
    """Of `ser-meta push`, of a Trainer that pushes, and in the card's snippets; without a token."""
    code, printed, _ = push("someone/emotions")
    repository = hub.repositories["someone/emotions"]
    sha = repository.find("main")
    assert code == 0 and printed.strip() == f"{hub.url}/someone/emotions/commit/{sha}"
    assert not repository.private and len(repository.commits) == 2  # the Hub's own first, then one of ours
    push("someone/snippets", "--revision", "v1")
    card = hub.repositories["someone/snippets"].tree("v1")["README.md"].decode()
    trained = push_by_trainer(hub, finished_run, tmp_path / "stage")
    revisions = {"someone/emotions": sha, "someone/trained": trained}
    *shown, last = elsewhere(hub, tmp_path, recording, revisions, snippets(card))
    results = json.loads(last)
    assert set(results["someone/emotions"]["tasks"]) == {"emotion", "gender", "style", "transcript"}
    check_same(results["someone/emotions"], expected(finished_run / "model", recording))
    check_same(results["someone/trained"], expected(tmp_path / "stage", recording))
    assert all(any(word in line for line in shown) for word in ("angry", "neutral", "sad", "another.wav"))


def test_a_push_during_a_training_begins_with_its_checkpoint_in_place(hub, finished_run, tmp_path, monkeypatch):
    """It goes through the folder in the background, and what is moved meanwhile makes it fail now and then."""
    begun = []

    def begin(trainer, checkpoint: str) -> None:
        begun.append([checkpoint, *(str(path) for path in Path(trainer.args.output_dir).iterdir() if path.is_dir())])

    monkeypatch.setattr(Trainer, "_push_from_checkpoint", begin)
    a_trainer(finished_run, tmp_path / "stage", hub_model_id="someone/in-place").train()
    assert begun == [[str(tmp_path / "stage" / "checkpoint-1")] * 2]


def snippets(card: str) -> list[str]:
    found = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(found) == 3 and all('"v1"' in snippet for snippet in (found[0], found[2]))
    return found


def elsewhere(hub: LoopbackHub, folder: Path, recording: Path, revisions: dict, snippets: list[str]) -> list[str]:
    """What a new process prints that has an empty cache and knows the Hub, but has no token and not this package."""
    home = folder / "home"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HF_TOKEN")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    environment |= {"HF_HOME": str(home), "HF_MODULES_CACHE": str(home / "modules")}
    for name in ("recording.wav", "another.wav"):
        shutil.copy(recording, folder / name)
    command = [sys.executable, "-c", FRESH_PROCESS, json.dumps(revisions), json.dumps(snippets)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def push_by_trainer(hub: LoopbackHub, run: Path, folder: Path) -> str:
    """Pushes during a training and after it, each time all that a model needs and our card; returns the commit."""
    trainer = a_trainer(run, folder, hub_model_id="someone/trained")
    repository = hub.repositories["someone/trained"]
    trainer.train()
    during = repository.tree()
    trainer.push_to_hub()
    for tree in (during, repository.tree()):
        card = tree["README.md"].decode()
        assert "2412.20707" in card and "## Results" not in card and '"someone/trained"' in card
        assert {"model.safetensors", "modeling_ser_meta.py", "pipeline_ser_meta.py"} <= set(tree)
    return repository.find("main")


def a_trainer(run: Path, folder: Path, **options):
    """Trains a finished run's model for one more step, and pushes its checkpoints as any Trainer does."""
    from transformers import TrainingArguments

    from ser_meta.configuration.recipe_files import load_recipe
    from ser_meta.modeling_ser_meta import SerMetaModel
    from ser_meta.training.learning.trainer import SerMetaTrainer
    from ser_meta.training.runs.preparation import prepare

    recipe = load_recipe(str(run / "recipe.yaml"))
    prepared, model = prepare(recipe), SerMetaModel.from_pretrained(run / "model")
    arguments = TrainingArguments(
        str(folder), max_steps=1, save_steps=1, push_to_hub=True, remove_unused_columns=False, report_to="none",
        use_cpu=True, disable_tqdm=True, **options,
    )  # fmt: skip
    return SerMetaTrainer(
        loss_weights={"emotion": 1.0},
        encoder_learning_rate=1e-4,
        model=model,
        args=arguments,
        processing_class=prepared.processor,
        data_collator=prepared.build_collator(model, recipe.stages["emotion"]),
        train_dataset=prepared.side("train"),
    )
