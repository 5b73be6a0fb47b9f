import json
from pathlib import Path

import pandas
import pytest
import torch
from safetensors.torch import load_file

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.modeling_ser_meta import SerMetaModel
from ser_meta.training.learning.freezing import apply_freeze_mask
from ser_meta.training.measures.metrics import evaluate_predictions
from ser_meta.training.runs.preparation import prepare
from ser_meta.training.runs.stages import run_stages

BELOW_THE_LAYERS = ("feature_extractor.", "feature_projection.", "pos_conv_embed.", "encoder.encoder.layer_norm.")


def _new_name(name: str) -> str:
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        name = name.replace(f"conv.{old}", f"conv.parametrizations.weight.{new}")
    return name


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = load_file(folder / "model.safetensors")
    return {_new_name(name): tensor for name, tensor in found.items()}  # 5.4 writes some as of old


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Names of the tensors that are not bit-identical."""
    assert set(before) == set(after)
    return {name for name in before if not torch.equal(before[name], after[name])}


def layer(number: int) -> str:
    return f"encoder.backbone.encoder.layers.{number}."


@pytest.fixture(scope="module")
def start(recipe_file):
    """The weights that a run starts from."""
    return prepare(load_recipe(str(recipe_file))).new_model().state_dict()


@pytest.fixture(scope="module")
def first(finished_run):
    """The weights after the first stage."""
    return weights(finished_run / "stage-1-metadata")


@pytest.fixture(scope="module")
def second(finished_run):
    """The weights after the second stage."""
    return weights(finished_run / "stage-2-emotion")


@pytest.fixture(scope="module")
def state(finished_run):
    return json.loads((finished_run / "state.json").read_text())


def test_the_first_stage_moves_every_layer_and_no_convolution(start, first):
    changed = moved(start, first)
    convolutions = {name for name in start if ".feature_extractor." in name}
    assert convolutions and not convolutions & changed
    for number in range(6):
        still = {name for name in start if name.startswith(layer(number))} - changed
        assert not still
    assert {name for name in start if name.startswith("layer_fusion.")} <= changed
    assert {name for name in start if name.startswith("heads.")} <= changed
    # without an emotion term nothing of the emotion's own has a loss
    assert not {name for name in changed if name.startswith(("classifier.", "coattention."))}


def test_the_second_stage_keeps_the_first_third_and_all_below_it(first, second):
    changed = moved(first, second)
    frozen = {
        name
        for name in first
        if name.startswith((layer(0), layer(1))) or any(part in name for part in BELOW_THE_LAYERS)
    }
    frozen |= {name for name in first if name.startswith("encoder.") and ".layers." not in name}
    assert len(frozen) > 40 and not frozen & changed
    assert set(first) - frozen <= changed


def test_every_log_is_the_weighted_sum_of_the_losses_it_names(state):
    for stage in state.values():
        logs = [entry for entry in stage["log"] if "loss" in entry]
        assert len(logs) == stage["steps"] == 12
        for entry in logs:
            losses = {name: entry[f"loss_{name}"] for name in stage["loss_weights"]}
            expected = sum(stage["loss_weights"][name] * loss for name, loss in losses.items())
            assert entry["loss"] == pytest.approx(expected, abs=1e-4)
    assert "loss_emotion" not in state["metadata"]["log"][0] and "loss_emotion" in state["emotion"]["log"][0]


def test_the_run_folder_holds_what_the_design_says(finished_run, recipe_file, second):
    recipe = load_recipe(str(recipe_file))
    assert load_recipe(str(finished_run / "recipe.yaml")) == recipe
    split = json.loads((finished_run / "split.json").read_text())
    assert {side: len(ids) for side, ids in split.items()} == {"train": 24, "validation": 0, "test": 12}
    assert not set(split["train"]) & set(split["test"])

    predictions = pandas.read_parquet(finished_run / "predictions.parquet")
    report = json.loads((finished_run / "report.json").read_text())
    assert predictions["utterance_id"].tolist() == split["test"]
    model = SerMetaModel.from_pretrained(finished_run / "model")
    for task, measures in evaluate_predictions(predictions, model.config.tasks).items():
        assert measures.items() <= report["metrics"][task].items()
    assert report["metrics"]["emotion"]["n"] == 12 and "not_applicable" in report["metrics"]["speaker"]
    assert report["metrics"]["style"]["n"] == 12 and set(report["slices"]) == {"style"}  # two men
    assert report["protocol"] | {"folds": "", "seed": 0} == {
        "corpus": "speech",
        "label_map": None,
        "left_out": {},
        "allow_speaker_overlap": False,
        "longest": None,
        "styles": "improvised, scripted",
        "searched": None,
        "folds": "",
        "test_fold": "emil+finn",
        "validation": "none",
        "epoch_rule": "last epoch of 2",
        "seed": 0,
    }
    learned = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("familiarity.")}
    assert not moved(second, learned)
    for path in ("plots/confusion.png", "plots/training.png", "model/README.md", "model/plots/confusion.png"):
        assert (finished_run / path).stat().st_size > 1_000


def test_the_same_seed_gives_the_same_weights_in_any_worker(finished_run, recipe_file, tmp_path):
    report = run_stages(load_recipe(str(recipe_file), ["workers=1"]), tmp_path / "again")
    for stage in ("stage-1-metadata", "stage-2-emotion"):
        assert not moved(weights(finished_run / stage), weights(tmp_path / "again" / stage))
    assert report.metrics == json.loads((finished_run / "report.json").read_text())["metrics"]


def test_another_seed_gives_other_weights(finished_run, recipe_file, tmp_path):
    few = ["seed=2", "stages.metadata.epochs=0.2", "stages.emotion.epochs=0.2"]
    run_stages(load_recipe(str(recipe_file), few), tmp_path / "other")
    changed = moved(weights(finished_run / "stage-1-metadata"), weights(tmp_path / "other" / "stage-1-metadata"))
    assert {name for name in changed if name.endswith("classifier.weight")}


def test_the_best_epoch_is_kept_and_patience_ends_a_stage(recipe_file, tmp_path):
    settings = [f"stages.{stage}.{rule}" for stage in ("metadata", "emotion") for rule in ("keep=best", "epochs=4")]
    settings += ["data.validation=speaker", "stages.emotion.early_stopping_patience=1"]
    report = run_stages(load_recipe(str(recipe_file), settings), tmp_path / "run")
    state = json.loads((tmp_path / "run" / "state.json").read_text())
    for index, (stage, measure, pick) in enumerate((("metadata", "loss", min), ("emotion", "emotion_ua", max))):
        judged = [entry for entry in state[stage]["log"] if f"eval_{measure}" in entry]
        best = pick(judged, key=lambda entry: entry[f"eval_{measure}"])
        folder = tmp_path / "run" / f"stage-{index + 1}-{stage}"
        assert not moved(weights(folder), weights(folder / f"checkpoint-{best['step']}"))
        assert len(judged) == (4 if stage == "metadata" else min(4, judged.index(best) + 2))
    assert report.sides == {"train": 18, "validation": 6, "test": 12}
    assert report.protocol.epoch_rule == "best epoch of 4"


def test_freezing_by_the_recipes_words(recipe_file):
    settings = ["stages.metadata.freeze_layer_fusion=true", "stages.metadata.freeze_layers=4"]
    settings += ["model.coattention=false", "model.frame_pooling=[attentive_mean]"]
    prepared = prepare(load_recipe(str(recipe_file), settings))
    model = prepared.new_model()
    frozen = set(apply_freeze_mask(model, prepared.recipe.stages["metadata"]))
    assert frozen == {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert {name for name in frozen if name.startswith("layer_fusion.")}
    assert {name for name in frozen if name.startswith("frame_pooling.")}  # which only the emotion's loss reaches
    assert {number for number in range(6) if any(name.startswith(layer(number)) for name in frozen)} == {0, 1, 2, 3}


def test_balanced_classes_weigh_what_is_rare_on_the_training_side(recipe_file):
    prepared = prepare(load_recipe(str(recipe_file), ["model.class_weights=balanced"]))
    emotions = list(prepared.side("train")["emotion"])
    rarer = [row for row, emotion in zip(prepared.sides["train"], emotions, strict=True) if emotion != "sad"]
    prepared.sides["train"] = [*rarer, prepared.sides["train"][emotions.index("sad")]]
    emotions = list(prepared.side("train")["emotion"])
    labels = prepared.tasks["emotion"]["labels"]
    expected = [len(emotions) / (3 * emotions.count(label)) for label in labels]
    assert prepared.new_model().config.class_weights == pytest.approx(expected)
    assert max(expected) == expected[labels.index("sad")] > 1.5


def test_an_encoder_lies_in_the_users_home(recipe_file, encoder_folder, monkeypatch):
    monkeypatch.setenv("HOME", str(encoder_folder.parent))
    expected, found = (
        prepare(load_recipe(str(recipe_file), [f"model.encoder={folder}"])).new_model().state_dict()
        for folder in (encoder_folder, f"~/{encoder_folder.name}")
    )
    assert not moved(expected, found)
    with pytest.raises(UserError, match=r"model\.encoder=~/nowhere is no folder"):
        prepare(load_recipe(str(recipe_file), ["model.encoder=~/nowhere"]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["stages.emotion.freeze_layers=7"], r"stages\.emotion\.freeze_layers=7.*6"),
        (["model.encoder_layers=7"], r"model\.encoder=.*encoder_layers=7 is more than the 6 layers"),
        (["model.encoder_layers=5", "stages.emotion.freeze_layers=6"], r"freeze_layers=6 is more than .* 5 layers"),
        (["model.class_weights=even"], r"model\.class_weights='even' must be one of balanced"),
        (["model.coattention_heads=5"], r"coattention_heads=5 must divide"),
        (["data.longest=0.01"], r"data\.longest=0\.01"),
        (["model.labels.emotion=[angry,sad]"], r"emotion 'neutral'"),
        (["model.labels.emotions=[angry,sad]"], r"model\.labels.*emotions"),
        (["model.auxiliary_tasks=[gender,speaker,style,transcript,intensity]"], r"no utterance .* value of intensity"),
        (["data.root=nowhere.csv"], r"nowhere\.csv"),
        (["precision=fp16"], r"precision=fp16 needs a CUDA GPU, and there is none: set precision=auto"),
        (["report_to=[nothing]"], r"report_to=nothing is no tracker: choose among .*tensorboard"),
        (["report_to=[neptune]"], r"report_to=neptune needs a package that is not installed: pip install neptune"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(recipe_file, tmp_path, settings, message):
    with pytest.raises(UserError, match=message):
        run_stages(load_recipe(str(recipe_file), settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()
