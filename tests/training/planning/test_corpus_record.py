"""What a run records of its corpus, by which it notices another one."""

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import RunFolder
from ser_meta.training.planning.corpus_record import corpus_record
from ser_meta.training.planning.plan import load_rows


def voted(rows, angry):
    """The rows with votes for two of the labels, which leave everyone's own label as it is."""
    others = [5.0 if label == "neutral" else 0.0 for label in rows["emotion"]]
    votes = [angry if label == "angry" else 0.0 for label in rows["emotion"]]
    return rows.with_columns({"emotion:angry": votes, "emotion:neutral": others}).dataset()


def test_other_votes_for_the_same_labels_are_another_corpus(recipe_file, tmp_path):
    recipe = load_recipe(str(recipe_file), ["data.votes=shares"])
    rows, run = load_rows(recipe), RunFolder(tmp_path / "run")
    run.create(recipe, {}, corpus_record(voted(rows, angry=5.0), recipe))
    run.check_corpus({}, corpus_record(voted(rows, angry=5.0), recipe))
    with pytest.raises(UserError, match="another corpus: emotion:angry is not what it was: restore"):
        run.check_corpus({}, corpus_record(voted(rows, angry=3.0), recipe))
