import json

import numpy as np
import pytest
import torch

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.batches.samplers import (
    DurationBoundedBatches,
    LengthGroupedUtterances,
    WeightedUtterances,
    balancing_weights,
)
from ser_meta.training.runs.stages import train_first_stage

LENGTHS = (0.5 + 10 * torch.rand(203, generator=torch.Generator().manual_seed(0))).tolist()
BOUNDED = ["stages.metadata.batch_size=null", "stages.metadata.batch_duration=3"]


def padded(batch: list[int]) -> float:
    return max(LENGTHS[row] for row in batch) * len(batch)


def test_batches_of_alike_lengths_are_drawn_anew_each_epoch():
    lengths = torch.rand(203, generator=torch.Generator().manual_seed(0)).tolist()
    sampler = LengthGroupedUtterances(lengths, step=8, seed=1)
    first, again = list(sampler), list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert first == again and first != second
    assert list(LengthGroupedUtterances(lengths, step=8, seed=2)) != first
    assert sorted(first) == sorted(second) == list(range(203)) and len(sampler) == 203

    def waste(order):
        batches = [[lengths[row] for row in order[start : start + 8]] for start in range(0, len(order), 8)]
        return sum(max(batch) * len(batch) - sum(batch) for batch in batches)

    assert waste(second) < 0.3 * waste(range(203))


@pytest.mark.parametrize("alike", [True, False])
def test_no_batch_lasts_longer_than_it_may_and_every_epoch_has_as_many(alike):
    sampler = DurationBoundedBatches(LENGTHS, 40.0, seed=1, epochs=5, multiple=4, alike=alike)
    epochs = []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert batches == list(sampler)
        assert len(batches) == len(sampler) and len(sampler) % 4 == 0
        assert all(batch and padded(batch) <= 40 for batch in batches)
        assert sorted(row for batch in batches for row in batch) == list(range(203))
        epochs.append(batches)
    assert len({str(batches) for batches in epochs}) == 5
    assert list(DurationBoundedBatches(LENGTHS, 40.0, seed=2, epochs=5, multiple=4, alike=alike)) != epochs[0]


def test_alike_lengths_fill_a_batch():
    grouped, random = (DurationBoundedBatches(LENGTHS, 60.0, seed=1, epochs=3, alike=alike) for alike in (True, False))
    assert len(grouped) < 0.75 * len(random)
    assert sum(LENGTHS) > 0.85 * sum(map(padded, grouped))


def test_what_cannot_be_bounded_is_refused():
    with pytest.raises(UserError, match=r"batch_duration=5 is shorter than the longest utterance, .* 9\.0 s"):
        DurationBoundedBatches([1.0, 9.0], 5.0, seed=1, epochs=1)
    with pytest.raises(UserError, match="2 utterances are too few for steps of 4 batches"):
        DurationBoundedBatches([1.0, 1.0], 5.0, seed=1, epochs=1, multiple=4)


def test_a_stage_trains_on_bounded_batches(recipe_file, tmp_path):
    recipe = load_recipe(str(recipe_file), [*BOUNDED, "stages.metadata.gradient_accumulation_steps=2"])
    train_first_stage(recipe, tmp_path / "run")
    record = load_state(tmp_path / "run")["metadata"]
    # 24 recordings of some 0.45 s, 11 s in all: four batches of 3 s with their padding or a few more, two a step
    assert record["batch_size"] is None and record["batch_duration"] == 3
    assert record["steps"] in (4, 6)
    assert record["log"][-1]["epoch"] == 2


def load_state(run) -> dict:
    return json.loads((run / "state.json").read_text())


def test_a_batch_is_bounded_in_one_way(recipe_file):
    with pytest.raises(UserError, match=r"stages.metadata has both batch_size=4 and batch_duration=3"):
        load_recipe(str(recipe_file), ["stages.metadata.batch_size=4", "stages.metadata.batch_duration=3"])
    with pytest.raises(UserError, match=r"stages.metadata.batch_duration=0.* above 0"):
        load_recipe(str(recipe_file), ["stages.metadata.batch_duration=0"])
    recipe = load_recipe(str(recipe_file), ["stages.metadata.batch_duration=3"])
    assert (recipe.stages["metadata"].batch_size, recipe.stages["emotion"].batch_size) == (None, 4)


def test_weights_draw_a_label_evenly_and_an_utterance_by_its_share():
    shares = np.array([[1, 0, 0]] * 8 + [[0.5, 0.5, 0]] * 4 + [[0, 0, 1]] * 2 + [[0, 0, 0]])
    expected = [sum(share / shares[:, label].sum() for label, share in enumerate(row) if share) for row in shares[:14]]
    weights = balancing_weights(shares)
    np.testing.assert_allclose(weights[:14], expected)
    assert weights[14] == pytest.approx(np.mean(expected))  # without a label
    alone = np.eye(3)[[0] * 6 + [1] * 3 + [2]]
    np.testing.assert_allclose(np.array(balancing_weights(alone)) @ alone, [1, 1, 1])


@pytest.mark.parametrize("grouped", [True, False])
def test_weighted_draws_follow_their_weights_and_the_epoch(grouped):
    weights = [1.0] * 50 + [9.0] * 50
    lengths = torch.rand(100, generator=torch.Generator().manual_seed(0)).tolist()
    sampler = LengthGroupedUtterances(lengths, 4, 1, weights) if grouped else WeightedUtterances(weights, 1)
    drawn = {}
    for epoch in range(20):
        sampler.set_epoch(epoch)
        drawn[epoch] = list(sampler)
        assert len(drawn[epoch]) == len(sampler) == 100
    heavy = np.mean([row >= 50 for rows in drawn.values() for row in rows])
    assert heavy == pytest.approx(0.9, abs=0.03)
    assert drawn[0] != drawn[1]
    sampler.set_epoch(0)
    assert list(sampler) == drawn[0]


def test_two_ways_to_balance_are_refused(recipe_file):
    both = ["stages.emotion.balanced_batches=true", "model.class_weights=balanced"]
    with pytest.raises(UserError, match="two ways to the same, which together would count rare labels twice"):
        load_recipe(str(recipe_file), both)
    bounded = [both[0], "stages.emotion.batch_size=null", "stages.emotion.batch_duration=9"]
    with pytest.raises(UserError, match=r"draws batches of one size: set stages.emotion.batch_duration=null"):
        load_recipe(str(recipe_file), bounded)
