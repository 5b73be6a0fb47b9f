import os
import re
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from datasets import Dataset
from datasets.arrow_writer import ArrowWriter
from draws import DRAWS_ALIKE
from safetensors.torch import load_file

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.batches import frozen_states as frozen
from ser_meta.training.batches.frozen_states import FrozenStatesCollator
from ser_meta.training.checking.recordings import digests
from ser_meta.training.learning.arguments import training_arguments
from ser_meta.training.learning.freezing import apply_freeze_mask
from ser_meta.training.learning.trainer import SerMetaTrainer
from ser_meta.training.runs.preparation import prepare
from ser_meta.training.runs.stages import run_stages, train_first_stage

FROZEN = ["stages.metadata.freeze_layers=all", "stages.emotion.freeze_layers=all"]
ONE_EPOCH = ["stages.metadata.epochs=1", "stages.emotion.epochs=1"]
LAST_HIDDEN = ["model.layer_fusion=last_hidden", "model.coattention=false", "model.auxiliary_tasks=[]"]
LOGGED = 1.5e-4  # by which losses may differ that Transformers 4 rounds to four digits


@pytest.fixture(scope="module")
def frozen_settings(steady_settings):
    return [*steady_settings, *FROZEN]


@pytest.fixture(scope="module")
def cached(recipe_file, frozen_settings, tmp_path_factory):
    """A run on kept states; its folder and the folder of the states."""
    folder = tmp_path_factory.mktemp("frozen")
    recipe = load_recipe(str(recipe_file), [*frozen_settings, f"cache={folder / 'states'}"])
    run_stages(recipe, folder / "run")
    return folder / "run", folder / "states"


def scores(run):
    table = pandas.read_parquet(run / "predictions.parquet")
    return torch.tensor(np.stack(table["emotion_scores"]))


def train(recipe, folder, freeze_layers, **settings) -> tuple[list[float], SerMetaTrainer]:
    """Losses of the steps of two epochs of the recipe's second stage, with the encoder's own dropouts."""
    stage = replace(recipe.stages["emotion"], freeze_layers=freeze_layers, **settings)
    prepared = prepare(recipe)
    model = prepared.new_model()
    apply_freeze_mask(model, stage)
    collator = prepared.build_collator(model, stage)
    side = prepared.side("train")
    arguments = training_arguments(recipe, stage, folder, len(side), validates=False)
    arguments.save_strategy, arguments.logging_steps = "no", 1
    trainer = SerMetaTrainer(
        loss_weights=stage.loss_weights,
        encoder_learning_rate=stage.encoder_learning_rate,
        lengths=collator.lengths(side),
        model=model,
        args=arguments,
        processing_class=prepared.processor,
        data_collator=collator,
        train_dataset=side,
    )
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry], trainer


@pytest.mark.parametrize("trim", ["null", "30"])
@pytest.mark.parametrize(
    "freeze_layers", [0, *(pytest.param(layers, marks=DRAWS_ALIKE) for layers in (2, "third", "all"))]
)
def test_losses_with_the_cache_equal_those_without(freeze_layers, trim, recipe_file, tmp_path):
    settings = [f"data.trim_decibels={trim}"]
    expected, _ = train(load_recipe(str(recipe_file), settings), tmp_path / "without", freeze_layers)
    recipe = load_recipe(str(recipe_file), [*settings, f"cache={tmp_path / 'states'}"])
    losses, trainer = train(recipe, tmp_path / "with", freeze_layers)
    assert isinstance(trainer.data_collator, FrozenStatesCollator)
    halves = {"rel": 1e-3} if freeze_layers == "all" else {}  # what all layers give is kept in half precision
    assert len(losses) == 12 and losses == pytest.approx(expected, abs=LOGGED, **halves)


@DRAWS_ALIKE
@pytest.mark.parametrize("freeze_layers", [2, "all"])
def test_a_fusion_of_the_last_layer_alone_keeps_one_state(freeze_layers, recipe_file, tmp_path):
    settings = [*LAST_HIDDEN, "data.speed_factors=[1.0]", *_target_alone()]
    expected, _ = train(load_recipe(str(recipe_file), settings), tmp_path / "without", freeze_layers)
    recipe = load_recipe(str(recipe_file), [*settings, f"cache={tmp_path / 'states'}"])
    losses, trainer = train(recipe, tmp_path / "with", freeze_layers)
    assert trainer.data_collator.states.states == 1
    assert losses == pytest.approx(expected, abs=LOGGED)


@DRAWS_ALIKE
@pytest.mark.parametrize(("freeze_layers", "precision"), [(2, "fp16"), ("all", "fp32")])
def test_states_are_kept_in_the_precision_that_is_asked_for(freeze_layers, precision, recipe_file, tmp_path, capsys):
    settings = ["data.speed_factors=[1.0]"]
    expected, _ = train(load_recipe(str(recipe_file), settings), tmp_path / "without", freeze_layers)
    settings += [f"cache={tmp_path / 'states'}"]
    recipe = load_recipe(str(recipe_file), [*settings, f"cache_precision={precision}"])
    losses, trainer = train(recipe, tmp_path / "with", freeze_layers)
    states, told = trainer.data_collator.states, capsys.readouterr().err
    assert states.dtype == (np.float16 if precision == "fp16" else np.float32)
    assert losses == pytest.approx(expected, abs=LOGGED, rel=1e-3 if precision == "fp16" else None)
    pattern = r"half precision rounds them by (\S+) of a channel's .*, in the worst channel by ([^\s;]+)"
    found = re.search(pattern, told)
    assert (found is not None) == (precision == "fp16")
    if found:
        usual, worst = (float(number) for number in found.groups())
        assert 0 < usual < worst < 0.01
    train(load_recipe(str(recipe_file), settings), tmp_path / "by default", freeze_layers)
    assert len(list((tmp_path / "states").glob("*.arrow"))) == 2  # each precision has a file of its own


@DRAWS_ALIKE
def test_a_third_of_the_lowest_layers_is_kept(recipe_file, tmp_path):
    settings = ["model.encoder_layers=3", "data.speed_factors=[1.0]"]
    expected, _ = train(load_recipe(str(recipe_file), settings), tmp_path / "without", "third")
    losses, trainer = train(load_recipe(str(recipe_file), [*settings, f"cache={tmp_path}"]), tmp_path, "third")
    assert trainer.data_collator.states.depth == 1 and len(trainer.model.encoder.layers) == 3
    assert losses == pytest.approx(expected, abs=LOGGED)


def _target_alone() -> list[str]:
    return [
        f"stages.{stage}.loss_weights={{emotion: 1, gender: 0, speaker: 0, style: 0, transcript: 0}}"
        for stage in ("metadata", "emotion")
    ]


def test_kept_states_train_like_the_recordings(cached, recipe_file, frozen_settings, tmp_path):
    run, _ = cached
    run_stages(load_recipe(str(recipe_file), frozen_settings), tmp_path / "run")
    assert (scores(run) - scores(tmp_path / "run")).abs().max() < 2e-3


def test_an_encoder_frozen_as_a_whole_does_not_move(cached, recipe_file, frozen_settings):
    run, _ = cached
    start = prepare(load_recipe(str(recipe_file), frozen_settings)).new_model().state_dict()
    end = load_file(run / "model" / "model.safetensors")
    still = {name for name in start if torch.equal(start[name], end[name])}
    assert {name for name in start if name.startswith("encoder.")} == still


def test_states_are_computed_once_for_all_seeds_and_folds(cached, recipe_file, frozen_settings, tmp_path):
    _, states = cached
    before = files(states)
    assert len(before) == 3  # speeds 0.8, 1 and 1.2
    others = ["seed=2", "data.test_fold=0", f"cache={states}"]
    train_first_stage(load_recipe(str(recipe_file), [*frozen_settings, *ONE_EPOCH, *others]), tmp_path / "run")
    assert files(states) == before


def test_both_stages_and_the_judgement_share_the_convolutions(recipe_file, steady_settings, tmp_path):
    settings = [*steady_settings, *ONE_EPOCH, "cache_layers=false", f"cache={tmp_path / 'states'}"]
    run_stages(load_recipe(str(recipe_file), settings), tmp_path / "run")
    assert len(files(tmp_path / "states")) == 3
    run_stages(load_recipe(str(recipe_file), [*settings[:-2]]), tmp_path / "without")
    assert (scores(tmp_path / "run") - scores(tmp_path / "without")).abs().max() < 1e-5


def files(states) -> dict:
    return {path: path.stat().st_mtime_ns for path in states.glob("*.arrow")}


@pytest.mark.parametrize("change", ["data.trim_decibels=20", "model.encoder={other}"])
def test_other_processing_or_weights_have_states_of_their_own(
    cached, recipe_file, frozen_settings, make_encoder, tmp_path, change
):
    _, states = cached
    change = change.format(other=make_encoder(initializer_range=0.05))
    before = set(states.glob("*.arrow"))
    settings = [*frozen_settings, *ONE_EPOCH, "data.speed_factors=[1.0]", f"cache={states}", change]
    train_first_stage(load_recipe(str(recipe_file), settings), tmp_path / "run")
    assert len(set(states.glob("*.arrow")) - before) == 1


@pytest.mark.parametrize(
    ("depth", "changed", "same"),
    [
        (0, "feature_extractor.conv_layers.1.conv.weight", "feature_projection.projection.weight"),
        (2, "encoder.layers.1.final_layer_norm.bias", "encoder.layers.2.final_layer_norm.bias"),
        (2, "feature_projection.projection.bias", "encoder.layers.5.attention.k_proj.weight"),
        (6, "encoder.layers.5.final_layer_norm.bias", None),
    ],
)
def test_the_name_depends_on_the_weights_below_and_no_others(depth, changed, same, recipe_file, tmp_path):
    prepared = prepare(load_recipe(str(recipe_file), ["data.speed_factors=[1.0]"]))
    model = prepared.new_model()
    collator = prepared.build_collator(model, prepared.recipe.stages["emotion"])

    def origin() -> str:
        return frozen.FrozenStates(tmp_path, model, collator, prepared.dataset, prepared.durations, depth).origin

    before, parameters = origin(), dict(model.encoder.backbone.named_parameters())
    with torch.no_grad():
        model.layer_fusion.weight += 1
        if same:
            parameters[same] += 1
    assert origin() == before
    with torch.no_grad():
        parameters[changed] += 1
    assert origin() != before


def test_the_name_depends_on_what_reads_and_computes(recipe_file, tmp_path, monkeypatch):
    prepared = prepare(load_recipe(str(recipe_file), ["data.speed_factors=[1.0]"]))
    model = prepared.new_model()
    collator = prepared.build_collator(model, prepared.recipe.stages["emotion"])

    def origin() -> str:
        return frozen.FrozenStates(tmp_path, model, collator, prepared.dataset, prepared.durations, 0).origin

    origins = {origin(), origin()}
    assert len(origins) == 1
    with monkeypatch.context() as changed:
        changed.setattr(frozen, "HEARING", frozen.HEARING + 1)
        origins.add(origin())
    for package in ("soxr", "transformers"):
        with monkeypatch.context() as changed:
            changed.setattr(frozen, "version", lambda name, other=package: "0" if name == other else version(name))
            origins.add(origin())
    assert len(origins) == 4


def test_recordings_are_read_once_for_their_digests(tmp_path, speech_table):
    path = Path(shutil.copy(next(speech_table.parent.glob("*.wav")), tmp_path / "a.wav"))
    source = {"path": str(path), "bytes": None, "start": None, "end": None}
    (first,) = digests([source])
    stamp, content = path.stat(), path.read_bytes()
    path.write_bytes(bytes(len(content)))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert list(digests([source])) == [first]  # its size and time are what they were: it is not read again
    path.write_bytes(bytes(len(content)))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    assert list(digests([source])) != [first]


def test_an_interrupted_computation_is_not_taken_for_whole(recipe_file, tmp_path, monkeypatch):
    recipe = load_recipe(str(recipe_file), ["data.speed_factors=[1.0]", f"cache={tmp_path}"])
    prepared = prepare(recipe)
    model, stage = prepared.new_model(), recipe.stages["emotion"]

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr(ArrowWriter, "finalize", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepared.build_collator(model, stage)
    assert not files(tmp_path)
    collator = prepared.build_collator(model, stage)
    assert len(files(tmp_path)) == 1
    rows = [prepared.dataset[row] for row in range(3)]
    direct = frozen.SpeechCollator(prepared.processor, prepared.tasks)(rows)
    kept = model.eval().encode(**without_labels(collator(rows)))
    for state, expected in zip(kept.hidden_states, model.encode(**without_labels(direct)).hidden_states, strict=True):
        torch.testing.assert_close(state[kept.frame_mask], expected[kept.frame_mask], rtol=0, atol=1e-5)


@pytest.mark.parametrize("damage", ["cut short", "half of it"])
def test_a_damaged_file_is_computed_anew(damage, recipe_file, tmp_path, capsys):
    prepared = prepare(load_recipe(str(recipe_file), ["data.speed_factors=[1.0]", f"cache={tmp_path}"]))
    stage = prepared.recipe.stages["emotion"]
    prepared.build_collator(prepared.new_model(), stage)
    (path,) = files(tmp_path)
    before = Dataset.from_file(str(path))
    whole = before.to_dict()
    if damage == "cut short":
        os.truncate(path, 1_000)
    else:
        with ArrowWriter(path=str(path), features=before.features) as writer:
            writer.write_batch({name: values[:18] for name, values in whole.items()})
            writer.finalize()
    capsys.readouterr()
    prepared.build_collator(prepared.new_model(), stage)
    assert f"{path} is damaged, and is computed anew" in capsys.readouterr().err.splitlines()
    assert Dataset.from_file(str(path)).to_dict() == whole


def test_a_whole_file_is_read_where_nothing_can_be_written(recipe_file, tmp_path):
    prepared = prepare(load_recipe(str(recipe_file), ["data.speed_factors=[1.0]", f"cache={tmp_path}"]))
    stage = prepared.recipe.stages["emotion"]
    prepared.build_collator(prepared.new_model(), stage)
    (path,) = files(tmp_path)
    path.with_suffix(".lock").unlink(missing_ok=True)
    path.with_suffix(".lock").mkdir()  # so that none can be made, for the administrator too
    collator = prepared.build_collator(prepared.new_model(), stage)
    (kept,) = collator.states.kept.values()
    assert len(kept) == 36
    path.unlink()
    with pytest.raises(
        UserError, match=rf"{tmp_path} cannot be written to \(.*\), and does not hold {path.name}: cho"
    ):
        prepared.build_collator(prepared.new_model(), stage)


def without_labels(batch: dict) -> dict:
    return {name: value for name, value in batch.items() if name != "labels"}


def test_a_full_disk_is_refused_before_anything_is_computed(recipe_file, tmp_path, monkeypatch):
    prepared = prepare(load_recipe(str(recipe_file), [f"cache={tmp_path}"]))
    monkeypatch.setattr("shutil.disk_usage", lambda _: FullDisk())
    with pytest.raises(UserError, match=r"takes 0\.0 GB .* where 0\.0 GB are free: .*cache_layers=false"):
        prepared.build_collator(prepared.new_model(), prepared.recipe.stages["emotion"])
    assert not files(tmp_path)


class FullDisk:
    free = 10


def test_what_will_be_computed_is_said_first(recipe_file, tmp_path, capsys):
    recipe = load_recipe(str(recipe_file), [f"cache={tmp_path}"])
    prepared = prepare(recipe)
    model = prepared.new_model()
    prepared.build_collator(model, recipe.stages["metadata"])
    first = capsys.readouterr().err
    assert f"GB to compute into {tmp_path}" in first and "are free" in first
    prepared.build_collator(model, recipe.stages["metadata"])
    assert "to compute" not in capsys.readouterr().err
    kept = sum(path.stat().st_size for path in files(tmp_path))
    collator = prepared.build_collator(model, recipe.stages["metadata"])
    expected = sum(collator.states._size(factor) for factor in (0.8, 1.0, 1.2))
    assert expected == pytest.approx(kept, rel=0.1)
