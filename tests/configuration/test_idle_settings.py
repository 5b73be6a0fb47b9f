"""Settings that another one leaves without effect."""

from dataclasses import replace

import pytest

from ser_meta.configuration.idle_settings import as_built, idle_settings
from ser_meta.configuration.recipe import ModelRecipe

PLAIN = ModelRecipe(encoder="some/encoder", auxiliary_tasks=["gender"])
ALONE = replace(PLAIN, auxiliary_tasks=[])


@pytest.mark.parametrize(
    ("model", "idle"),
    [
        (PLAIN, {}),
        (ALONE, {}),
        (replace(PLAIN, ari_normalize=True, ari_join="concat"), {}),
        (replace(PLAIN, frame_pooling=["deviation"], coattention=False), {}),
        (replace(ALONE, frame_pooling=["deviation"]), {}),
        (replace(PLAIN, frame_pooling=["deviation"], coattention_pooled_frames=True), {}),
        (replace(PLAIN, frame_pooling=["deviation"]), {"frame_pooling": "with model.coattention_pooled_frames"}),
        (
            replace(PLAIN, layer_fusion="weighted_sum", ari_normalize=True, ari_join="concat", ari_weighting="scalar"),
            dict.fromkeys(("ari_normalize", "ari_join", "ari_weighting"), "model.layer_fusion is weighted_sum"),
        ),
        (replace(PLAIN, coattention=False, coattention_heads=4), {"coattention_heads": "model.coattention is false"}),
        (
            replace(ALONE, coattention_pooled_frames=True, head_hidden_size=8),
            dict.fromkeys(("coattention_pooled_frames", "head_hidden_size"), "there is no auxiliary task"),
        ),
    ],
)
def test_a_setting_without_effect_is_told_with_its_reason(model, idle):
    found = idle_settings(model)
    assert found.keys() == idle.keys()
    assert all(reason in found[name] for name, reason in idle.items())


def test_models_that_are_built_alike_are_equal():
    assert as_built(replace(PLAIN, frame_pooling=["deviation"])) == as_built(PLAIN)
    assert as_built(replace(ALONE, coattention=False)) == as_built(ALONE)
    assert as_built(replace(PLAIN, coattention=False)) != as_built(PLAIN)
    assert as_built(replace(PLAIN, ari_normalize=True)) != as_built(PLAIN)
