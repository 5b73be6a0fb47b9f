import pytest
import torch

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.modeling_ser_meta import SerMetaModel
from ser_meta.training.batches.state_statistics import fit_standardization
from ser_meta.training.runs.preparation import prepare
from ser_meta.training.runs.stages import run_stages

SETTINGS = ["model.standardize_states=true", "data.trim_decibels=40", "data.speed_factors=[1.0]"]


@pytest.fixture(scope="module")
def fitted(recipe_file, steady_settings):
    """A recipe's preparation, and its model with the statistics of the training side."""
    prepared = prepare(load_recipe(str(recipe_file), [*steady_settings, *SETTINGS]))
    model = prepared.new_model()
    stage = prepared.recipe.stages["metadata"]
    fit_standardization(model, prepared.build_collator(model, stage), prepared.side("train"))
    return prepared, model


def test_the_statistics_are_those_of_all_true_frames(fitted):
    prepared, model = fitted
    collate = prepared.build_collator(model, prepared.recipe.stages["metadata"]).without_speed()
    frames = [[] for _ in range(6)]
    for row in prepared.side("train"):
        batch = collate([row])
        with torch.no_grad():
            encoded = model.eval().encode(batch["input_values"], attention_mask=batch["attention_mask"])
        for layer, state in zip(frames, encoded.hidden_states, strict=True):
            layer.append(state[0])
    for layer, states in enumerate(map(torch.cat, frames)):
        assert torch.allclose(model.standardization.mean[layer], states.mean(dim=0), atol=1e-5)
        assert torch.allclose(model.standardization.deviation[layer], states.std(dim=0, correction=0), rtol=1e-3)


def test_fused_frames_start_centred_and_scaled(fitted):
    _, model = fitted
    states = [torch.randn(2, 5, 32) for _ in range(6)]
    expected = (states[-1] - model.standardization.mean[-1]) / model.standardization.deviation[-1]
    torch.testing.assert_close(model.layer_fusion(model.standardization(states)), expected)


def test_the_statistics_stay_through_both_stages(fitted, recipe_file, steady_settings, tmp_path):
    _, model = fitted
    short = ["stages.metadata.epochs=1", "stages.emotion.epochs=1"]
    run_stages(load_recipe(str(recipe_file), [*steady_settings, *SETTINGS, *short]), tmp_path / "run")
    trained = SerMetaModel.from_pretrained(tmp_path / "run" / "model")
    assert torch.equal(trained.standardization.mean, model.standardization.mean)
    assert torch.equal(trained.standardization.deviation, model.standardization.deviation)
