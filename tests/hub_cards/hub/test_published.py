"""What is pushed: no speaker by name or by answer, the same results for all else, and the handler of an endpoint."""

import base64
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load

from ser_meta.configuration.report import JudgedBy, read_report
from ser_meta.hub_cards.hub.names import read_model_config
from ser_meta.hub_cards.hub.published import published_files, unspoken_tasks, without_answers
from ser_meta.modeling_ser_meta import SerMetaModel, SerMetaProcessor, SpeechEmotionPipeline
from ser_meta.training.runs.hub import _without_speakers_names

NAMES = ("anna", "bela", "cleo", "dora", "emil", "finn")
TASKS = {
    "gender": {"labels": ["female", "male"]},
    "emotion": {"labels": ["angry", "neutral", "sad"]},
    "speaker": {"labels": ["anna", "bela"]},
    "transcript": {"kind": "ctc"},
}


@pytest.fixture
def older_run(finished_run, tmp_path) -> Path:
    """A run of a version that wrote the speakers' names, and other code, into its model."""
    run = Path(shutil.copytree(finished_run, tmp_path / "older"))
    config = json.loads((run / "model" / "config.json").read_text())
    speaker = config["tasks"]["speaker"]
    speaker["labels"] = list(NAMES[: len(speaker["labels"])])
    (run / "model" / "config.json").write_text(json.dumps(config))
    (run / "model" / "modeling_ser_meta.py").write_text("an older version")
    return run


def written(tree: dict[str, bytes], folder: Path) -> Path:
    for name, content in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@torch.no_grad()
def outputs(folder: Path) -> dict[str, torch.Tensor]:
    model = SerMetaModel.from_pretrained(folder).eval()
    noise = torch.randn(2, 9000, generator=torch.Generator().manual_seed(1))
    output = model(noise, attention_mask=(torch.arange(9000) < torch.tensor([[9000], [6000]])).long())
    return {**output.task_logits, "embeddings": output.embeddings}


def test_nothing_that_is_pushed_names_a_speaker(push, hub, finished_run, older_run, tmp_path):
    code, _, errors = push("someone/older", folder=older_run)
    tree = hub.repositories["someone/older"].tree()
    assert code == 0, errors
    told = {path: content for path, content in tree.items() if not path.endswith(".py")}  # the code knows of DoRA
    assert not [(name, path) for path, content in told.items() for name in NAMES if name.encode() in content]
    config = json.loads(tree["config.json"])
    assert "speaker" not in config["tasks"] and config["hidden_tasks"] == ["speaker"]
    assert not any("speaker.classifier" in name for name in load(tree["model.safetensors"]))
    assert "its answers were taken out of the file" in tree["README.md"].decode()
    found, expected = outputs(written(tree, tmp_path / "pulled")), outputs(finished_run / "model")
    assert set(expected) - set(found) == {"speaker"} and set(found) == {
        "emotion",
        "gender",
        "style",
        "transcript",
        "embeddings",
    }
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_folds_that_could_not_be_trained_have_no_names(finished_run):
    report = read_report(finished_run / "report.json")
    judged_by = JudgedBy(study="mine", folds=3, folds_left_out=["anna", "bela"])
    changed = _without_speakers_names(replace(report, judged_by=judged_by))
    assert changed.judged_by.folds_left_out == ["2 folds"] and changed.protocol.test_fold == "2 speakers"


def test_with_speakers_the_model_is_sent_as_it_lies_there(push, hub, older_run):
    code, printed, _ = push("someone/named", "--with-speakers", "--dry-run", folder=older_run)
    assert code == 0 and "kept back" not in printed
    push("someone/named", "--with-speakers", folder=older_run)
    tree = hub.repositories["someone/named"].tree()
    for name in ("config.json", "model.safetensors"):
        assert tree[name] == (older_run / "model" / name).read_bytes()
    assert "emil+finn" in tree["README.md"].decode()


def test_a_dry_run_tells_what_is_kept_back(push, finished_run):
    code, printed, _ = push("someone/dry", "--dry-run")
    *_, total, kept = printed.splitlines()
    assert code == 0 and "bytes would go to someone/dry" in total
    assert kept.startswith("kept back: the answers of speaker, ") and "--with-speakers" in kept
    listed = {line.split()[1]: line.split()[0].replace(",", "") for line in printed.splitlines()[:-2]}
    assert int(listed["model.safetensors"]) < (finished_run / "model" / "model.safetensors").stat().st_size
    assert {"handler.py", "requirements.txt", "config.json", "README.md"} <= set(listed)


def test_what_the_corpus_forbids_is_told_at_a_push(push, finished_run, tmp_path):
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    recipe = (run / "recipe.yaml").read_text()
    assert "corpus: table" in recipe
    (run / "recipe.yaml").write_text(recipe.replace("corpus: table", "corpus: ravdess"))
    code, _, errors = push("someone/bound", "--dry-run", "--license", "mit", folder=run)
    (told,) = [line for line in errors if "forbids" in line]
    assert code == 0 and told.startswith("ser-meta: ravdess forbids commercial use, and ")
    _, _, errors = push("someone/free", "--dry-run")
    assert not any("forbids" in line for line in errors)


@pytest.mark.parametrize("coattention", [True, False])
@pytest.mark.parametrize("shard", ["1GB", "60KB"])
def test_without_its_answers_a_model_answers_the_rest_to_the_bit(encoder_folder, tmp_path, coattention, shard):
    torch.manual_seed(0)
    options = {"coattention": coattention, "coattention_heads": 4, "head_hidden_size": 16, "initializer_range": 0.3}
    model = SerMetaModel.from_backbone_pretrained(str(encoder_folder), TASKS, **options)
    model.save_pretrained(tmp_path / "model", max_shard_size=shard)
    assert (len(list((tmp_path / "model").glob("*.safetensors"))) > 1) == (shard == "60KB")
    names = unspoken_tasks(read_model_config(tmp_path / "model"))
    files = published_files(tmp_path / "model", names)
    content = {name: each if isinstance(each, bytes) else each.read_bytes() for name, each in files.items()}
    pulled = written(content, Path(shutil.copytree(tmp_path / "model", tmp_path / "pulled")))
    found, expected = outputs(pulled), outputs(tmp_path / "model")
    assert names == ["speaker"] and set(expected) - set(found) == {"speaker"}
    assert all(torch.equal(found[name], expected[name]) for name in found)
    again = SerMetaModel.from_pretrained(pulled)
    assert hasattr(again.heads, "speaker") == coattention  # what it hides is read by the co-attention, or by nobody
    again.save_pretrained(tmp_path / "again")
    assert all(torch.equal(found[name], value) for name, value in outputs(tmp_path / "again").items())


def test_a_training_goes_on_from_a_model_without_its_speakers(encoder_folder, tmp_path):
    options = {"coattention_heads": 4, "head_hidden_size": 16, "classifier_hidden_size": 16}
    model = SerMetaModel.from_backbone_pretrained(str(encoder_folder), TASKS, **options)
    model.save_pretrained(tmp_path / "model")
    files = published_files(tmp_path / "model", ["speaker"])
    content = {name: each if isinstance(each, bytes) else each.read_bytes() for name, each in files.items()}
    model = SerMetaModel.from_backbone_pretrained(str(written(content, tmp_path / "model")), TASKS, **options)
    assert model.inherited["heads.speaker.dense"] and not model.inherited["heads.speaker.classifier"]
    assert model.inherited["classifier.1"] and model.config.hidden_tasks == []


def test_a_config_without_answers_keeps_the_order_of_what_the_co_attention_reads():
    config = {"target_task": "emotion", "tasks": dict(sorted(TASKS.items())), "task_order": list(TASKS)}
    changed = without_answers({**config, "coattention": True}, ["speaker"])
    assert (changed["task_order"], changed["hidden_tasks"]) == (list(TASKS), ["speaker"])
    changed = without_answers({**config, "coattention": False}, ["speaker"])
    assert (changed["task_order"], changed["hidden_tasks"]) == (["gender", "emotion", "transcript"], [])


def test_the_handler_answers_as_inference_endpoints_call_it(
    push, hub, finished_run, speech_table, tmp_path, monkeypatch
):
    """The service imports the repository's handler.py, makes an `EndpointHandler` of its folder, and calls that."""
    push("someone/endpoint")
    folder = written(hub.repositories["someone/endpoint"].tree(), tmp_path / "repository")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(__import__("sys").modules, "handler", raising=False)
    handler = __import__("handler").EndpointHandler(path=str(folder))
    recording = speech_table.parent / "emil-angry-scripted.wav"
    content, (samples, rate) = recording.read_bytes(), soundfile.read(recording, dtype="float32")
    processor = SerMetaProcessor.from_pretrained(finished_run / "model")
    ours = SpeechEmotionPipeline(model=SerMetaModel.from_pretrained(finished_run / "model"), processor=processor)
    expected, text = ours(content), base64.b64encode(content).decode()
    assert handler({"inputs": content}) == handler({"inputs": text, "parameters": None}) == expected
    assert handler({"inputs": f"data:audio/wav;base64,{text}"}) == expected
    assert handler({"inputs": base64.encodebytes(content).decode()}) == expected  # in lines
    assert handler({"inputs": {"array": samples.tolist(), "sampling_rate": rate}}) == expected
    chosen = {"tasks": ["gender"], "top_k": 1}
    assert handler({"inputs": [content, text], "parameters": chosen}) == [ours(content, **chosen)] * 2
    json.dumps(handler({"inputs": content, "parameters": {"window_seconds": 0.2, "threshold": 0.5}}))
    for wrong, said in [
        ({}, "holds no recording"),
        ({"inputs": str(recording)}, "no base64"),
        ({"inputs": {"path": str(recording)}}, "holds no recording"),
        ({"inputs": b"no sound"}, "cannot be read"),
        ({"inputs": content, "parameters": {"tasks": ["speaker"]}}, "speaker"),
        ({"inputs": content, "parameters": {"colour": 1}}, "colour"),
    ]:
        with pytest.raises(ValueError, match=said):
            handler(wrong)
    assert np.isfinite(expected["emotion"][0]["score"])
