"""Defects that the campaigns found in reading texts and model folders: the least input that shows each."""

import json
import shutil
from functools import partial

import numpy as np
import pytest
import soundfile
from safetensors.torch import load_file, save_file
from text_readers import ACTORS, EVALUATION, NEMO, PODCAST, TABLE
from tiny_model import save_tiny_model

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import RunFolder
from ser_meta.training.corpora import load_corpus, load_rows
from ser_meta.training.corpora.espeak import VERSION
from ser_meta.training.corpora.mapping import map_labels
from ser_meta.training.corpora.quarantine import read_quarantine
from ser_meta.training.planning.evaluation import read_side
from ser_meta.training.runs.loading import load_model

# deeper by far, a text makes a parser fail, or Python with it: our own limit is 20 levels
DEEP = "[" * 30 + "]" * 30


def refused(message: str, read, *arguments) -> None:
    with pytest.raises(UserError, match=message) as error:
        read(*arguments)
    assert len(str(error.value).splitlines()) == 1


RECIPES = {
    r"repeats parts of itself by \* aliases": "a: &a [x, x]\nb: &b [*a, *a]\nextends: demo\n",
    r"extends=5 must be the name of a recipe": "extends: 5\n",
    r"extends=\['demo'\] must be the name": "extends: [demo]\n",
    r"no such recipe": f"extends: {'x' * 5_000}\n",
    r"is nested more than 20 levels deep": DEEP,
    r"epochs=inf must be a number above 0": "extends: demo\nstages: {emotion: {epochs: inf}}\n",
    r"seed=-1 must be from 0 to": "extends: demo\nseed: -1\n",
    r"workers=-3 must be from 0 to": "extends: demo\nworkers: -3\n",
    r"warmup=1.5 must be from 0 to 1": "extends: demo\nstages: {emotion: {warmup: 1.5}}\n",
    r"weight_decay=nan must be from 0": "extends: demo\nstages: {emotion: {weight_decay: nan}}\n",
    r"max_gradient_norm=0.0 must be a number above 0": "extends: demo\nstages: {emotion: {max_gradient_norm: 0}}\n",
}


@pytest.mark.parametrize("message", RECIPES)
def test_recipes(message, tmp_path):
    (tmp_path / "mine.yaml").write_text(RECIPES[message])
    refused(message, load_recipe, str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize("text", ["", "{", DEEP, "[]", "null", '{"kind": "quarantine"}', "\ufeff{}"])
def test_quarantine_state_and_split(text, tmp_path):
    for name, read in (
        ("quarantine.json", read_quarantine),
        ("split.json", lambda path: read_side(path, "test")),
        ("state.json", lambda path: RunFolder(path.parent).read_state()),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        refused(f"{name} |quarantine", read, tmp_path / name)


def test_lists_of_utterances_of_another_shape(tmp_path):
    path = tmp_path / "a.json"
    for utterances in (None, ["a"], "a"):
        path.write_text(json.dumps({"kind": "quarantine", "utterances": utterances}))
        refused("holds no quarantine", read_quarantine, path)
    for side in (None, "a.wav", [1], [["a"]]):
        path.write_text(json.dumps({"test": side}))
        refused("holds no list of utterances for test", read_side, path, "test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NEMO.replace("27", "\u00b2"), "has the age '\u00b2'"),
        (NEMO.replace("27", "9" * 30), "does not fit its column"),
        (NEMO.replace("EB0_fear_2.wav\t", "\t"), "no such recording"),
        (NEMO.splitlines()[0], "has no utterance"),
        (NEMO.replace("Gdzie", "x" * 200_000), "is no table"),
        (NEMO.encode("utf-16"), None),
    ],
)
def test_nemo(text, message, tmp_path):
    (tmp_path / "samples").mkdir()
    soundfile.write(tmp_path / "samples" / "EB0_fear_2.wav", np.zeros(80), 16_000)
    (tmp_path / "data.tsv").write_bytes(text if isinstance(text, bytes) else text.encode())
    if message is None:
        assert load_corpus("nemo", tmp_path)[0]["transcript"] == 'Gdzie jest "mój" kot?'
    else:
        refused(message, load_corpus, "nemo", tmp_path)


@pytest.mark.parametrize("age", ["\u00b2", "9" * 30, ""])
def test_cremad(age, tmp_path):
    (tmp_path / "AudioWAV").mkdir()
    (tmp_path / "AudioWAV" / "1001_IEO_ANG_HI.wav").touch()
    (tmp_path / "VideoDemographics.csv").write_text(ACTORS.replace("51", age), encoding="utf-8")
    if len(age) > 9:
        refused("does not fit its column", load_corpus, "cremad", tmp_path)
    else:
        assert load_corpus("cremad", tmp_path)[0]["age"] is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (PODCAST.splitlines()[0], "has no utterance"),
        (PODCAST.replace("MSP-PODCAST_0001_0008", "x" * 500), "no such recording"),
    ],
)
def test_msp_podcast(table, message, tmp_path):
    (tmp_path / "Labels").mkdir()
    (tmp_path / "Labels" / "labels_consensus.csv").write_text(table)
    refused(message, load_corpus, "msp_podcast", tmp_path)


def test_iemocap(tmp_path):
    folder = tmp_path / "Session1" / "dialog" / "EmoEvaluation"
    folder.mkdir(parents=True)
    (folder / "Ses01F_impro01.txt").write_text(EVALUATION.replace("3.0", "3..0"))
    refused("has an evaluation that cannot be read", load_corpus, "iemocap", tmp_path)


@pytest.mark.parametrize("rows", [None, [{}], ["one"], [{"audio": 3}]])
def test_the_demo_corpus(rows, tmp_path):
    options = {"version": VERSION, "voices": "demo", "utterances": 1, "seed": 0}
    (tmp_path / "manifest.json").write_text(json.dumps({"options": options, "rows": rows}))
    refused("manifest.json is damaged", partial(load_corpus, utterances=1), "espeak", tmp_path)


def test_a_label_of_two_lines_is_told_in_one(tmp_path):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).touch()
    (tmp_path / "speech.csv").write_text(TABLE.replace("angry", '"very\nangry"'))
    rows = load_rows("table", tmp_path / "speech.csv")
    refused("very angry", map_labels, rows, {"emotion": {"calm": None}}, "emotion", "table")


@pytest.fixture(scope="module")
def whole_model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def model(whole_model, tmp_path):
    return shutil.copytree(whole_model, tmp_path / "model")


@pytest.mark.parametrize("text", ["", "[]", "null", DEEP, '{"model_type": "ser_meta"', '{"model_type": ["ser_meta"]}'])
def test_a_models_config(text, model):
    (model / "config.json").write_text(text)
    refused("config.json cannot be read|holds a model of the type", load_model, model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_fusion": "none of ours"}, "cannot be loaded"),
        ({"tasks": {}}, "cannot be loaded"),
        ({"speech_config": None}, "cannot be loaded"),
        ({"target_task": "gender", "coattention_heads": -1}, "cannot be loaded"),
    ],
)
def test_a_models_settings(change, message, model):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | change))
    refused(message, load_model, model)


def test_a_model_that_would_be_filled_up_with_random_weights(model):
    weights = load_file(model / "model.safetensors")
    lost = next(name for name in weights if "layer_fusion" in name)
    save_file(
        {name: value for name, value in weights.items() if name != lost}, model / "model.safetensors", {"format": "pt"}
    )
    refused(f"lacks the weights {lost}", load_model, model)


def test_a_model_whose_weights_are_no_numbers(model):
    weights = load_file(model / "model.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: weights[name] * float("nan")}, model / "model.safetensors", {"format": "pt"})
    refused(f"weights that are no numbers \\({name}", load_model, model)


@pytest.mark.parametrize("name", ["model.safetensors", "processor_config.json", "tokenizer_config.json"])
def test_a_models_file_that_breaks_off(name, model):
    path = next(path for path in (model / name, model / "vocab.json") if path.is_file())
    path.write_bytes(path.read_bytes()[:50])
    refused("cannot be loaded", load_model, model)
