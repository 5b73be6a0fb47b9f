"""A model folder in a process that has Transformers, but not this package."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForAudioClassification, AutoProcessor, Wav2Vec2FeatureExtractor

import ser_meta.modeling_ser_meta as room
from ser_meta.modeling_ser_meta import SerMetaModel, SerMetaProcessor, SpeechEmotionPipeline
from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer

FILES = sorted(path for path in Path(room.__file__).parent.glob("*.py") if path.stem != "__init__")
FRESH_PROCESS = """
import json, sys
sys.modules["ser_meta"] = None
import numpy as np
from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification, AutoProcessor, pipeline

folder, trusted = sys.argv[1], {"trust_remote_code": True}
arrays = [np.load(f"{folder}/{name}.npy") for name in ("long", "short")]
recordings = [{"array": array, "sampling_rate": 16_000} for array in arrays]
results = {"tasks": list(AutoConfig.from_pretrained(folder, **trusted).tasks)}
processor = AutoProcessor.from_pretrained(folder, **trusted)
batch = processor(arrays, sampling_rate=16_000, text=["hello", None])
results["labels"] = batch.pop("labels").tolist()
for auto_class in (AutoModel, AutoModelForAudioClassification):
    model = auto_class.from_pretrained(folder, **trusted).eval()
    results[auto_class.__name__] = [type(model).__module__, model(**batch).logits.tolist()]
ours = pipeline("speech-emotion-recognition", model=folder, **trusted)
results["ours"] = ours([dict(r) for r in recordings], batch_size=2)
stock = pipeline("audio-classification", model=folder, **trusted)
results["stock"] = [stock(arrays[0].copy()), *stock([array.copy() for array in arrays], batch_size=2)]
model.save_pretrained(f"{folder}/again")
processor.save_pretrained(f"{folder}/again")
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def folder(make_model, tone, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    processor = SerMetaProcessor(Wav2Vec2FeatureExtractor(do_normalize=True), character_tokenizer(["żółw"]))
    vocabulary = len(processor.tokenizer.get_vocab())
    tasks = {"transcript": {"kind": "ctc", "vocab_size": vocabulary}, "emotion": {"labels": ["sad", "happy", "calm"]}}
    auxiliary = {"gender": {"labels": ["female", "male"]}, "valence": {"kind": "regression", "range": [1, 5]}}
    model = make_model("wav2vec2", tasks={**tasks, **auxiliary})
    SpeechEmotionPipeline(model=model, processor=processor).save_pretrained(folder)
    processor.save_pretrained(folder)
    np.save(folder / "long.npy", tone(0.7))
    np.save(folder / "short.npy", tone(0.2, pitches=(330.0,)))
    return folder


@pytest.fixture(scope="module")
def fresh(folder, tmp_path_factory) -> dict:
    home = tmp_path_factory.mktemp("home")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "HF_MODULES_CACHE": str(home / "modules")}
    command = [sys.executable, "-c", FRESH_PROCESS, str(folder)]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def by_label(scores: list[dict]) -> dict[str, float]:
    return {entry["label"]: entry["score"] for entry in scores}


@torch.no_grad()
def test_a_fresh_process_gives_the_same(folder, fresh):
    model = SerMetaModel.from_pretrained(folder).eval()
    processor = SerMetaProcessor.from_pretrained(folder)
    arrays = [np.load(folder / f"{name}.npy") for name in ("long", "short")]
    batch = processor(arrays, sampling_rate=16_000, text=["hello", None])
    assert fresh["tasks"] == list(model.config.tasks) == ["transcript", "emotion", "gender", "valence"]
    assert fresh["labels"] == batch.pop("labels").tolist()
    logits = model(**batch).logits
    for name in ("AutoModel", "AutoModelForAudioClassification"):
        module, remote = fresh[name]
        assert module.startswith("transformers_modules.")
        torch.testing.assert_close(torch.tensor(remote), logits, rtol=0, atol=1e-5)
    ours = SpeechEmotionPipeline(model=model, processor=processor)
    for array, result in zip(arrays, fresh["ours"], strict=True):
        expected = ours(array, sampling_rate=16_000)
        assert list(result) == list(expected) and result["transcript"] == expected["transcript"]
        assert by_label(result["emotion"]) == pytest.approx(by_label(expected["emotion"]), abs=1e-4)
        assert by_label(result["gender"]) == pytest.approx(by_label(expected["gender"]), abs=1e-4)
        assert result["valence"] == pytest.approx(expected["valence"], abs=1e-4)


def test_the_stock_pipeline_of_a_fresh_process(fresh):
    alone, first, second = fresh["stock"]
    for scores, ours in ((alone, fresh["ours"][0]), (first, fresh["ours"][0]), (second, fresh["ours"][1])):
        assert by_label(scores) == pytest.approx(by_label(ours["emotion"]), abs=1e-4)


def test_what_a_fresh_process_saves_is_whole_again(folder, fresh):
    saved = {path.name for path in (folder / "again").iterdir()}
    pipelines = {f"{name}_ser_meta.py" for name in ("pipeline", "audio", "windows", "segments")}
    assert {path.name for path in FILES} - pipelines <= saved
    loaded = SerMetaModel.from_pretrained(folder / "again")
    for name, parameter in SerMetaModel.from_pretrained(folder).named_parameters():
        assert torch.equal(loaded.get_parameter(name), parameter), name


def test_with_the_package_installed_no_remote_code_is_needed(folder):
    assert type(AutoModel.from_pretrained(folder)) is SerMetaModel
    assert type(AutoModelForAudioClassification.from_pretrained(folder)) is SerMetaModel
    assert type(AutoProcessor.from_pretrained(folder)) is SerMetaProcessor


def test_every_file_ships(folder):
    assert {path.name for path in FILES} <= {path.name for path in folder.iterdir()}
    config = json.loads((folder / "config.json").read_text())
    assert set(config["auto_map"]) == {"AutoConfig", "AutoModel", "AutoModelForAudioClassification"}
    assert list(config["custom_pipelines"]) == ["speech-emotion-recognition"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_imports_are_those_that_ship(path):
    """One dot and one level, each a file beside it; the package itself and its other rooms by no name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "ser_meta" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1 and node.module in {file.stem for file in FILES}
        elif isinstance(node, ast.ImportFrom):
            assert node.module.split(".")[0] not in ("ser_meta", "configuration", "training", "hub_cards")
