"""What a training is refused for before it begins."""

from dataclasses import replace

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
    setting = picked[1].replace(".", r"\.")
    message = f"no utterance of the validation side has a value of emotion that is learned, by which {setting} is"
    with pytest.raises(UserError, match=message):
        plan_run(recipe, without_emotion(rows, validation))
    plan_run(load_recipe(str(recipe_file), BY_VALIDATION[:1]), without_emotion(rows, validation))


def test_a_stage_without_the_target_picks_its_epoch_by_what_it_learns(recipe_file):
    picked = ["data.validation=speaker", "stages.metadata.keep=best"]
    plan_run(load_recipe(str(recipe_file), [*picked, "model.auxiliary_tasks=[speaker,gender]"]))
    # nobody who validates is a speaker that was learned
    by_speaker = load_recipe(str(recipe_file), [*picked, "model.auxiliary_tasks=[speaker]"])
    with pytest.raises(
        UserError, match=r"a value of speaker that is learned, by which stages\.metadata\.keep=best is"
    ):
        plan_run(by_speaker)
    plan_run(replace(by_speaker, data=replace(by_speaker.data, validation="random")))


def test_a_test_fold_without_labels_is_refused(recipe_file):
    recipe = load_recipe(str(recipe_file))
    rows = load_rows(recipe)
    with pytest.raises(
        UserError, match=r"no utterance of the test fold emil\+finn has a emotion: choose another fold"
    ):
        plan_run(recipe, without_emotion(rows, plan_run(recipe, rows).sides["test"]))
