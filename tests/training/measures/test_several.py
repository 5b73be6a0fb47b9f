"""Several labels at once, against scikit-learn and loops over drawn speakers written out."""

import numpy as np
import pandas
import pytest
from sklearn.metrics import average_precision_score, f1_score

from ser_meta.configuration.errors import UserError
from ser_meta.training.measures.metrics import evaluate_predictions
from ser_meta.training.measures.resampling import SEED
from ser_meta.training.measures.several import MEASURES, paired_several, several_interval
from ser_meta.training.measures.statistics import interval, mcnemar, paired_difference

LABELS = ["angry", "happy", "sad", "shy"]
TASKS = {"emotion": {"kind": "multilabel", "labels": LABELS, "thresholds": [0.5] * 4}}


def table(seed: int = 0, speakers: int = 6, each: int = 8) -> pandas.DataFrame:
    """Some utterances have several labels, some none; of one they are not known. `seed` draws a model's scores.

    One speaker alone is shy, so that a draw may lack that label; many scores are equal.
    """
    corpus, chance = np.random.default_rng(7), np.random.default_rng(seed)
    place = np.arange(speakers * each)
    has = corpus.random((len(place), 4)) < [0.5, 0.3, 0.2, 0.0]
    has[:3, 3] = True
    scores = np.round(0.4 * has + 0.6 * chance.random(has.shape), 1)
    rows = pandas.DataFrame(
        {
            "utterance_id": [f"u{number}" for number in place],
            "speaker": [f"s{number // each}" for number in place],
            "emotion": None,
            **{f"emotion:{label}": has[:, column].astype(float) for column, label in enumerate(LABELS)},
        }
    )
    rows.loc[5, [f"emotion:{label}" for label in LABELS]] = np.nan
    rows["emotion_scores"] = list(scores)
    rows["emotion_predicted"] = [";".join(np.array(LABELS)[row]) for row in scores >= 0.5]
    return rows


def written_out(rows: pandas.DataFrame) -> list[float]:
    """Average precision, macro F1 and how often all labels are right, of the utterances with known labels."""
    rows = rows[rows["emotion:sad"].notna()]
    has = rows[[f"emotion:{label}" for label in LABELS]].to_numpy() > 0
    scores = np.stack(rows["emotion_scores"])
    areas = [average_precision_score(has[:, place], scores[:, place]) for place in np.flatnonzero(has.any(axis=0))]
    either = (has | (scores >= 0.5)).any(axis=0)
    f1 = f1_score(has[:, either], scores[:, either] >= 0.5, average="macro", zero_division=0)
    return [np.mean(areas), f1, (has == (scores >= 0.5)).all(axis=1).mean()]


def drawn_speakers(resamples: int):
    generator, names = np.random.default_rng(SEED), [f"s{number}" for number in range(6)]
    for _ in range(resamples):
        yield [names[place] for place in generator.integers(0, 6, 6)]


def of_speakers(rows: pandas.DataFrame, names: list[str]) -> list[float]:
    return written_out(pandas.concat([rows[rows["speaker"] == name] for name in names]))


def test_the_figures_are_scikit_learns():
    found = evaluate_predictions(table(), TASKS)["emotion"]
    assert [found[name] for name in MEASURES] == pytest.approx(written_out(table()))
    assert found["n"] == 47 and found["support"]["shy"] == 3


def test_the_intervals_equal_a_loop_over_drawn_speakers():
    rows = table()
    drawn = [of_speakers(rows, names) for names in drawn_speakers(60)]
    for order in (1, -1):
        found = several_interval(rows[::order], "emotion", LABELS, resamples=60)
        assert found.pop("speakers") == 6 and list(found) == list(MEASURES)
        np.testing.assert_allclose(list(found.values()), np.percentile(drawn, [2.5, 97.5], axis=0).T)
    assert interval(rows[rows["speaker"] < "s3"], TASKS, "emotion") == {"speakers": 3}
    assert interval(rows.drop(columns="speaker"), TASKS, "emotion") == {"speakers": None}


def test_a_difference_equals_a_loop_that_draws_the_same_speakers_for_both():
    rows, others = table(seed=0), table(seed=1)
    drawn = [np.subtract(*(of_speakers(side, names) for side in (rows, others))) for names in drawn_speakers(60)]
    found = paired_difference(rows, others.iloc[::-1], "emotion", LABELS, resamples=60)
    assert found.pop("speakers") == 6 and list(found) == ["average_precision", "macro_f1"]
    whole = np.subtract(written_out(rows), written_out(others))
    bounds = np.percentile(drawn, [2.5, 97.5], axis=0).T
    for change, difference, ends in zip(found.values(), whole[:2], bounds[:2], strict=True):
        assert change["difference"] == pytest.approx(difference) and change["interval"] == pytest.approx(ends)
    nothing = {"difference": 0.0, "interval": [0.0, 0.0]}
    same = paired_several(rows, rows, "emotion", LABELS, resamples=60)
    assert same == {"speakers": 6, "average_precision": nothing, "macro_f1": nothing}


def test_mcnemar_counts_utterances_of_which_all_labels_are_right():
    rows, others = table(seed=0), table(seed=1)
    right = []
    for side in (rows, others):
        has = [";".join(label for label in LABELS if row[f"emotion:{label}"] > 0) for _, row in side.iterrows()]
        right.append(side["emotion:sad"].notna() & (side["emotion_predicted"] == has))
    found = mcnemar(rows, others, "emotion", LABELS)
    assert (found["only_this"], found["only_other"]) == ((right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum())


def test_other_utterances_or_labels_are_refused():
    rows = table()
    changed = rows.assign(**{"emotion:shy": 1.0})
    for other in (rows[1:], changed):
        with pytest.raises(UserError, match="differ in their utterances"):
            paired_difference(rows, other, "emotion", LABELS)
