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
from sound_formats import write_format
from transformers import (
    AutoModel,
    AutoModelForAudioClassification,
    AutoProcessor,
    Wav2Vec2FeatureExtractor,
    dynamic_module_utils,
)

import ser_meta.modeling_ser_meta as room
from ser_meta.modeling_ser_meta import SerMetaModel, SerMetaProcessor, SpeechEmotionPipeline
from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer

FILES = sorted(path for path in Path(room.__file__).parent.glob("*.py") if path.stem != "__init__")
FRESH_PROCESS = """
import json, sys
sys.modules["ser_meta"] = None
import numpy as np
from transformers import (
    AutoConfig, AutoModel, AutoModelForAudioClassification, AutoProcessor, Trainer, TrainingArguments, pipeline
)

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
    model.save_pretrained(f"{folder}/by-{auto_class.__name__}")
    processor.save_pretrained(f"{folder}/by-{auto_class.__name__}")
results["lowest layers"] = AutoModel.from_pretrained(f"{folder}/lowest", **trusted).eval()(**batch).logits.tolist()
ours = pipeline("speech-emotion-recognition", model=folder, **trusted)
results["ours"] = ours([dict(r) for r in recordings], batch_size=2)
stock = pipeline("audio-classification", model=folder, **trusted)
results["stock"] = [stock(arrays[0].copy()), *stock([array.copy() for array in arrays], batch_size=2)]
ours.save_pretrained(f"{folder}/by-pipeline")
arguments = TrainingArguments(f"{folder}/trainer", report_to="none", use_cpu=True)
Trainer(model, arguments, processing_class=processor).save_model(f"{folder}/by-Trainer")
print(json.dumps(results))
"""
OF_A_PHONE = """
import json, sys
sys.modules["ser_meta"] = None
from transformers import pipeline

print(json.dumps(pipeline("speech-emotion-recognition", model=sys.argv[1], trust_remote_code=True)(sys.argv[2])))
"""
SAVED_AGAIN = ("by-AutoModel", "by-AutoModelForAudioClassification", "by-pipeline", "by-Trainer")
ANOTHER_PROCESS = """
import json, sys
sys.modules["ser_meta"] = None
import numpy as np
from transformers import AutoConfig, AutoModel, AutoModelForAudioClassification, AutoProcessor, pipeline

trusted, results = {"trust_remote_code": True}, {}
folder = sys.argv[1]
for name in sys.argv[2:]:
    saved = f"{folder}/{name}"
    arrays = [np.load(f"{folder}/{length}.npy") for length in ("long", "short")]
    batch = AutoProcessor.from_pretrained(saved, **trusted)(arrays, sampling_rate=16_000)
    recordings = [{"array": array, "sampling_rate": 16_000} for array in arrays]
    results[name] = {
        "tasks": list(AutoConfig.from_pretrained(saved, **trusted).tasks),
        "ours": pipeline("speech-emotion-recognition", model=saved, **trusted)(recordings, batch_size=2),
    }
    for auto_class in (AutoModel, AutoModelForAudioClassification):
        model = auto_class.from_pretrained(saved, **trusted).eval()
        results[name][auto_class.__name__] = model(**batch).logits.tolist()
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
    make_model("wavlm-large", encoder_layers=2).save_pretrained(folder / "lowest")
    np.save(folder / "long.npy", tone(0.7))
    np.save(folder / "short.npy", tone(0.2, pitches=(330.0,)))
    return folder


@pytest.fixture(scope="module")
def fresh(folder, tmp_path_factory) -> dict:
    return run_elsewhere(FRESH_PROCESS, tmp_path_factory.mktemp("home"), str(folder))


def run_elsewhere(program: str, home: Path, *arguments: str) -> dict:
    """What a program prints in a process that has nothing in its caches, and knows nothing of this package."""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(home),
        "HF_MODULES_CACHE": str(home / "modules"),
    }
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def near(value: object) -> object:
    """The same, with numbers that may differ in their last digits: processes need not round alike."""
    if isinstance(value, dict):
        return {key: near(part) for key, part in value.items()}
    if isinstance(value, list):
        return [near(part) for part in value]
    return pytest.approx(value, abs=1e-6) if isinstance(value, float) else value


def by_label(scores: list[dict]) -> dict[str, float]:
    return {entry["label"]: entry["score"] for entry in scores}


def test_a_folder_alone_reads_what_a_phone_records(folder, tone, tmp_path):
    pytest.importorskip("av")
    path = str(write_format("m4a-aac", tmp_path, tone(1.0)))
    recognise = SpeechEmotionPipeline(
        model=SerMetaModel.from_pretrained(folder), processor=SerMetaProcessor.from_pretrained(folder)
    )
    assert run_elsewhere(OF_A_PHONE, tmp_path, str(folder), path) == near(recognise(path))


@torch.no_grad()
def test_a_fresh_process_gives_the_same(folder, fresh):
    model = SerMetaModel.from_pretrained(folder).eval()
    processor = SerMetaProcessor.from_pretrained(folder)
    arrays = [np.load(folder / f"{name}.npy") for name in ("long", "short")]
    batch = processor(arrays, sampling_rate=16_000, text=["hello", None])
    assert fresh["tasks"] == list(model.config.tasks) == ["transcript", "emotion", "gender", "valence"]
    assert fresh["labels"] == batch.pop("labels").tolist()
    logits = model(**batch).logits
    lowest = SerMetaModel.from_pretrained(folder / "lowest").eval()
    assert fresh["lowest layers"] == near(lowest(**batch).logits.tolist())
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


def test_what_a_fresh_process_saves_is_used_like_what_it_loaded(folder, fresh, tmp_path):
    """By each Auto class, by a pipeline and by the stock Trainer: whatever was loaded, all of it is saved."""
    for name in SAVED_AGAIN:
        assert {path.name for path in FILES} <= {path.name for path in (folder / name).iterdir()}, name
    for name, results in run_elsewhere(ANOTHER_PROCESS, tmp_path, str(folder), *SAVED_AGAIN).items():
        assert results["tasks"] == fresh["tasks"], name
        assert results["ours"] == near(fresh["ours"]), name
        for auto_class in ("AutoModel", "AutoModelForAudioClassification"):
            assert results[auto_class] == near(fresh[auto_class][1]), name


TWO_VERSIONS = """
import json, sys
sys.modules["ser_meta"] = None
import torch
from transformers import AutoModel

waveform, results = torch.zeros(1, 16_000), {}
for folder in sys.argv[1:]:
    try:
        model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
        results[folder] = model(waveform).logits.abs().max().item()
    except ImportError as error:
        results[folder] = str(error)
print(json.dumps(results))
"""


CHANGES = {
    "modeling_ser_meta": ("logits = self.classifier(embeddings)", "logits = 0 * self.classifier(embeddings)"),
    "modules_ser_meta": ("return self.output(attended), weights", "return 0 * self.output(attended), weights"),
}


@pytest.fixture(scope="module")
def versions(make_model, tmp_path_factory) -> dict[str, list]:
    """By the file that the second version changed: what the first, the second and the first again answer."""
    home = tmp_path_factory.mktemp("versions")
    folders = {file: [home / place / file for place in ("first", "second", "third")] for file in CHANGES}
    for file, change in CHANGES.items():
        for folder in folders[file]:
            make_model("wav2vec2").save_pretrained(folder)
        path = folders[file][1] / f"{file}.py"
        code = path.read_text(encoding="utf-8")
        assert code.count(change[0]) == 1
        path.write_text(code.replace(*change), encoding="utf-8")
    found = run_elsewhere(TWO_VERSIONS, home, *(str(folder) for file in CHANGES for folder in folders[file]))
    return {file: [found[str(folder)] for folder in folders[file]] for file in CHANGES}


@pytest.mark.parametrize("changed", CHANGES)
def test_two_versions_of_the_code_in_folders_of_one_name(changed, versions):
    """Each model runs its own code or, where Transformers would mix them, none."""
    first, second, third = versions[changed]
    assert third == first > 0
    if hasattr(dynamic_module_utils, "_compute_local_source_files_hash"):
        assert second == 0 if changed == "modeling_ser_meta" else second not in (first, 0)
    else:
        assert "folder of the same name" in second


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
