import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import RunFolder
from ser_meta.modeling_ser_meta.audio_ser_meta import read_audio
from ser_meta.training.planning.tables import BEST_LAYER, find_table
from ser_meta.training.runs.preparation import prepare
from ser_meta.training.studies.ablation import ablate, plan_table
from ser_meta.training.studies.best_layer import best_layer, choose_layers, layers_words, mean_states, on_best_layer

LAYERS = 6
BRIEF = ["stages.metadata.epochs=0.2", "stages.emotion.epochs=0.2", "data.group_size=3"]  # two folds


@pytest.fixture(scope="module")
def prepared(recipe_file):
    return prepare(load_recipe(str(recipe_file)))


def tells(prepared, layers):
    """Mean states by utterance: noise, but for layers that tell the emotion of utterances on these sides."""
    chance, found = np.random.default_rng(0), {}
    side_of = {row: side for side, rows in prepared.sides.items() for row in rows}
    for row, (name, emotion) in enumerate(
        zip(prepared.dataset["utterance_id"], prepared.dataset["emotion"], strict=True)
    ):
        states = chance.normal(size=(LAYERS, 8))
        for layer, sides in layers.items():
            if side_of.get(row) in sides:
                states[layer - 1, ["angry", "neutral", "sad"].index(emotion)] += 20
        found[name] = states
    return found


def test_the_layer_is_chosen_on_speakers_that_are_trained_on(prepared):
    assert best_layer(prepared, tells(prepared, {3: ["train", "test"]})) == 3
    assert best_layer(prepared, tells(prepared, {3: ["train"], 5: ["test"]})) == 3


def test_a_layer_that_knows_voices_alone_is_not_chosen(prepared):
    means = tells(prepared, {4: ["train", "test"]})
    speakers = sorted(set(prepared.dataset["speaker"]))
    for name, speaker, emotion in zip(
        *(prepared.dataset[key] for key in ("utterance_id", "speaker", "emotion")), strict=True
    ):
        of_voice = np.random.default_rng(speakers.index(speaker)).normal(
            size=(3, 8)
        )  # the emotions of each voice apart
        means[name][1] = 20 * of_voice[["angry", "neutral", "sad"].index(emotion)]
    assert best_layer(prepared, means) == 4


class Counted(dict):
    """Counts what is looked up."""

    looked_up = 0

    def __getitem__(self, key):
        self.looked_up += 1
        return super().__getitem__(key)


def planned(recipe_file, folder, *settings):
    """The runs of the row with two seeds, in whose first folds other speakers validate."""
    recipe = load_recipe(str(recipe_file), [*BRIEF, *settings])
    return plan_table(find_table("1"), {"tiny": recipe}, folder, seeds=[1, 4])["tiny", BEST_LAYER]


def test_each_seed_chooses_by_its_own_training_side(recipe_file, prepared, tmp_path):
    runs = [run for run in planned(recipe_file, tmp_path, "data.validation=speaker") if run.fold == 0]
    first, second = ({*prepare(run.recipe).sides["train"]} for run in runs)
    assert first - second and second - first
    sides = {"first": [*first - second], "second": [*second - first], "both": [*first & second]}
    means = tells(replace(prepared, sides=sides), {3: ["first", "both"], 5: ["second", "both"]})
    assert choose_layers(runs, means) == [3, 5]


def test_a_training_side_that_seeds_share_is_asked_once(recipe_file, prepared, tmp_path):
    means = Counted(tells(prepared, {4: ["train", "test"]}))
    assert choose_layers(planned(recipe_file, tmp_path), means) == [4] * 4
    assert means.looked_up == 36  # each utterance is trained on in one of the two folds


def test_a_training_side_of_one_speaker_has_none_to_choose_by(prepared):
    alone = [row for row in prepared.sides["train"] if prepared.dataset["speaker"][row] == "anna"]
    with pytest.raises(UserError, match="chosen by speakers of the training side, which has one alone"):
        best_layer(replace(prepared, sides=prepared.sides | {"train": alone}), tells(prepared, {}))


def test_mean_states_are_those_of_the_encoder_as_it_comes(recipe_file):
    recipe = load_recipe(str(recipe_file))
    means = mean_states(recipe)
    prepared = prepare(recipe)
    model, row = prepared.new_model().eval(), prepared.dataset[7]
    samples = read_audio(row["audio"], prepared.processor.sampling_rate)
    with torch.no_grad():
        states = model.encode(**prepared.processor([samples], sampling_rate=16_000)).hidden_states
    expected = torch.stack(states)[:, 0].mean(dim=1)
    assert len(means) == 36 and torch.allclose(torch.tensor(means[row["utterance_id"]]), expected, atol=1e-4)


def test_no_more_layers_are_frozen_than_the_best_one_leaves(recipe_file, tmp_path):
    frozen = [f"stages.{stage}.freeze_layers={LAYERS}" for stage in ("metadata", "emotion")]
    recipe = load_recipe(str(recipe_file), [*BRIEF, *frozen])
    runs = on_best_layer(plan_table(find_table("1"), {"tiny": recipe}, tmp_path)["tiny", BEST_LAYER])
    frozen = [stage.freeze_layers for run in runs for stage in run.recipe.stages.values()]
    assert frozen == [run.recipe.model.encoder_layers for run in runs] and min(frozen) < LAYERS


def test_table_1_has_the_best_layer_beside_the_last_one(recipe_file, tmp_path):
    recipe = load_recipe(str(recipe_file), BRIEF)
    report = ablate("1", {"tiny": recipe}, tmp_path)
    last, best, ours = report.rows
    assert [row.name for row in (last, best, ours)] == ["baseline", "baseline, best layer", "ours"]
    tested = [replace(recipe, data=replace(recipe.data, test_fold={"place": place})) for place in (0, 1)]
    means = mean_states(tested[0])
    layers = [best_layer(prepare(each), means) for each in tested]
    folders = [tmp_path / "tiny" / "baseline-best-layer" / "seed-1" / f"fold-{place}" for place in (0, 1)]
    assert [load_recipe(str(RunFolder(folder).recipe)).model.encoder_layers for folder in folders] == layers
    assert best.reads == layers_words(layers) and last.reads is None
    assert f"baseline, best layer: {best.reads}, chosen" in (tmp_path / "table-1" / "report.md").read_text()
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("predictions.parquet")}
    assert ablate("1", {"tiny": recipe}, tmp_path).differences == report.differences
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("predictions.parquet")} == written
    assert json.loads((tmp_path / "table-1" / "report.json").read_text())["rows"][1]["reads"] == best.reads


def test_layers_in_words():
    assert layers_words([3, 3]) == "layer 3"
    assert layers_words([3, 4, 3]) == "layer 3 in 2 of 3 trainings, layer 4 in 1 of 3 trainings"
