"""The corpus with known raters: they err as they are said to, and their table is one that learns from shares."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.planning.plan import plan_run
from ser_meta.training.planning.tables import find_table

STUDIES = Path(__file__).resolve().parents[1] / "examples" / "studies"


@pytest.fixture(scope="module")
def raters():
    return runpy.run_path(str(STUDIES / "raters.py"))


@pytest.mark.parametrize("intensity", ["normal", "strong"])
def test_raters_hear_what_was_acted_as_often_as_they_are_said_to(raters, intensity):
    chances = raters["confusion"](intensity)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    np.testing.assert_allclose(np.diag(chances), raters["RIGHT"][intensity])
    for emotion, row in zip(raters["EMOTIONS"], chances, strict=True):
        mistaken = dict(zip(raters["EMOTIONS"], row, strict=True))
        del mistaken[emotion]
        assert sorted(sorted(mistaken, key=mistaken.get)[-2:]) == sorted(raters["NEAR"][emotion])


def test_draws_follow_the_confusion_and_repeat(raters):
    ratings = raters["draw_ratings"]([("angry", "normal")] * 3000, 20, 7, seed=1)
    assert ratings == raters["draw_ratings"]([("angry", "normal")] * 3000, 20, 7, seed=1)
    assert all(len({rater for rater, _ in rating}) == 7 for rating in ratings)
    heard = [emotion for rating in ratings for _, emotion in rating]
    wanted = dict(
        zip(raters["EMOTIONS"], raters["confusion"]("normal")[raters["EMOTIONS"].index("angry")], strict=True)
    )
    for emotion, chance in wanted.items():
        # the raters' own skills move what is right, and with it the rest
        assert heard.count(emotion) / len(heard) == pytest.approx(chance, abs=raters["SKILL"] / 2)


def test_the_table_is_planned_by_the_studys_recipe(raters, encoder_folder, tmp_path, capsys):
    folder, table = tmp_path / "ravdess", tmp_path / "raters.csv"
    for actor in range(1, 9):
        for emotion in range(1, 9):
            name = f"Actor_{actor:02}/03-01-{emotion:02}-01-01-01-{actor:02}.wav"
            path = folder / "Audio_Speech_Actors_01-24" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    raters["main"](folder, table, raters=9, each=5, seed=1)
    assert "64 recordings, 5 of 9 raters each" in capsys.readouterr().out
    settings = [
        "data.test_fold={place: 0}",
        f"data.root={table}",
        f"data.options.audio_root={folder}",
        f"model.encoder={encoder_folder}",
    ]
    recipe = load_recipe(str(STUDIES / "raters.yaml"), settings)
    for row in find_table(str(STUDIES / "tables" / "raters.yaml")).rows(recipe).values():
        plan = plan_run(row)
        assert len(plan.rows) == 64 and plan.tasks["emotion"]["labels"] == sorted(raters["EMOTIONS"])
        assert sum(plan.rows[f"emotion:{label}"][0] for label in raters["EMOTIONS"]) == 5


def test_a_probe_of_shares_is_one_of_labels_that_are_repeated_as_often():
    probe, chance = runpy.run_path(str(STUDIES / "raters_probe.py")), np.random.default_rng(0)
    states, votes = chance.normal(size=(30, 4)), chance.multinomial(4, [0.5, 0.3, 0.2], size=30)
    shares = np.vstack([votes / 4, np.full((1, 3), np.nan)])
    scores = probe["fit"](np.vstack([states, states[:1]]), shares).predict_proba(states)
    rows = np.repeat(np.arange(30), 4)
    heard = np.concatenate([np.repeat(np.arange(3), counts) for counts in votes])
    scaler = StandardScaler().fit(states[np.nonzero(votes)[0]])  # as the probe: once a label that somebody gave
    plain = LogisticRegression(C=probe["REGULARISATION"] / 4, max_iter=1000)
    wanted = plain.fit(scaler.transform(states)[rows], heard).predict_proba(scaler.transform(states))
    np.testing.assert_allclose(scores, wanted, atol=1e-3)
