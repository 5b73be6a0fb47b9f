"""What a training is refused for before it begins."""

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.planning.plan import load_rows, plan_run

BY_VALIDATION = ["data.validation=speaker", "stages.emotion.keep=best"]


def without_emotion(rows, places):
    return rows.with_columns(
        {"emotion": [None if row in places else label for row, label in enumerate(rows["emotion"])]}
    )


@pytest.mark.parametrize("picked", [BY_VALIDATION, [BY_VALIDATION[0], "stages.emotion.early_stopping_patience=1"]])
def test_an_epoch_cannot_be_picked_by_a_side_without_labels(recipe_file, picked):
    recipe = load_recipe(str(recipe_file), picked)
    rows = load_rows(recipe)
    validation = plan_run(recipe, rows).sides["validation"]
    plan_run(recipe, without_emotion(rows, validation[1:]))
    with pytest.raises(
        UserError, match=r"no utterance of the validation side has a emotion, by which stages\.emotion is"
    ):
        plan_run(recipe, without_emotion(rows, validation))
    plan_run(load_recipe(str(recipe_file), BY_VALIDATION[:1]), without_emotion(rows, validation))


def test_a_test_fold_without_labels_is_refused(recipe_file):
    recipe = load_recipe(str(recipe_file))
    rows = load_rows(recipe)
    with pytest.raises(
        UserError, match=r"no utterance of the test fold emil\+finn has a emotion: choose another fold"
    ):
        plan_run(recipe, without_emotion(rows, plan_run(recipe, rows).sides["test"]))
