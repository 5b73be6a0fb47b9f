import json

import numpy as np
import pandas
import pytest
from scipy.stats import binom
from sklearn.metrics import accuracy_score, f1_score, recall_score

from ser_meta.configuration.errors import UserError
from ser_meta.training.measures.resampling import SEED
from ser_meta.training.measures.statistics import calibration, interval, mcnemar, paired_difference

LABELS = ["angry", "happy", "sad"]
TASKS = {"emotion": {"kind": "classification", "labels": LABELS}}
RESAMPLES = 50


def table(speakers=6, each=10, rate=0.6, seed=0, seeds=1):
    """Speakers of whom the first are easy; one utterance has no emotion, and the first speaker is never sad."""
    corpus, chance = np.random.default_rng(7), np.random.default_rng(seed)
    place = np.arange(speakers * each)
    rows = pandas.DataFrame(
        {
            "utterance_id": [f"u{number}" for number in place],
            "speaker": [f"s{number // each}" for number in place],
            "emotion": corpus.choice(LABELS, len(place)),
        }
    )
    rows.loc[(rows["speaker"] == "s0") & (rows["emotion"] == "sad"), "emotion"] = "happy"
    rows.loc[3, "emotion"] = None
    rows = pandas.concat([rows] * seeds, ignore_index=True)
    right = chance.random(len(rows)) < rate + 0.3 * (rows["speaker"] < "s2")
    rows["emotion_predicted"] = np.where(right, rows["emotion"].fillna("sad"), chance.choice(LABELS, len(rows)))
    return rows.sample(frac=1, random_state=seed).reset_index(drop=True)


def measures(rows):
    reference, predicted = rows["emotion"], rows["emotion_predicted"]
    present = sorted(reference.unique())
    return (
        accuracy_score(reference, predicted),
        recall_score(reference, predicted, labels=present, average="macro"),
        f1_score(reference, predicted, average="macro"),
    )


def drawn_speakers(names, resamples):
    generator = np.random.default_rng(SEED)
    for _ in range(resamples):
        yield [names[place] for place in generator.integers(0, len(names), len(names))]


def percentiles(values):
    return np.percentile(values, [2.5, 97.5], axis=0).T


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_interval_equals_a_loop_over_drawn_speakers(seeds):
    rows = table(seeds=seeds)
    known = rows[rows["emotion"].notna()]
    of_speaker = dict(iter(known.groupby("speaker")))
    drawn = [
        measures(pandas.concat([of_speaker[name] for name in names]))
        for names in drawn_speakers(sorted(of_speaker), RESAMPLES)
    ]
    found = interval(rows, TASKS, "emotion", resamples=RESAMPLES)
    assert found.pop("speakers") == 6 and list(found) == ["wa", "ua", "macro_f1"]
    assert np.array(list(found.values())) == pytest.approx(percentiles(drawn))


def test_the_difference_equals_a_loop_that_draws_the_same_speakers_for_both():
    rows, others = table(rate=0.6, seed=1), table(rate=0.5, seed=2)
    sides = [dict(iter(side[side["emotion"].notna()].groupby("speaker"))) for side in (rows, others)]
    drawn = []
    for names in drawn_speakers(sorted(sides[0]), RESAMPLES):
        this, other = (measures(pandas.concat([side[name] for name in names])) for side in sides)
        drawn.append((this[1] - other[1], this[0] - other[0]))
    found = paired_difference(rows, others, "emotion", resamples=RESAMPLES)
    assert np.array([found["ua"]["interval"], found["wa"]["interval"]]) == pytest.approx(percentiles(drawn))
    whole = [measures(side.dropna()) for side in (rows, others)]
    assert found["ua"]["difference"] == pytest.approx(whole[0][1] - whole[1][1])
    assert found["wa"]["difference"] == pytest.approx(whole[0][0] - whole[1][0])


def test_the_same_predictions_differ_by_nothing():
    rows = table()
    found = paired_difference(rows, rows.sample(frac=1, random_state=5), "emotion")
    nothing = {"difference": 0.0, "interval": [0.0, 0.0]}
    assert found == {"speakers": 6, "ua": nothing, "wa": nothing}
    assert mcnemar(rows, rows, "emotion") == {"only_this": 0, "only_other": 0, "p": 1.0}


def test_a_difference_that_every_speaker_shares_has_a_narrow_interval():
    rows = table(speakers=8, each=30)
    worse = rows.copy()
    first = worse.dropna().groupby("speaker").head(5).index
    rows.loc[first, "emotion_predicted"] = rows.loc[first, "emotion"]
    worse.loc[first, "emotion_predicted"] = "none of them"
    paired = paired_difference(rows, worse, "emotion")["wa"]
    alone = interval(rows, TASKS, "emotion")["wa"]
    assert paired["difference"] == pytest.approx(5 * 8 / 239)
    assert paired["interval"][1] - paired["interval"][0] < 0.05 * (alone[1] - alone[0])


def test_results_repeat_and_are_strict_json():
    rows = table()
    found = interval(rows, TASKS, "emotion")
    assert found == interval(rows.sample(frac=1, random_state=3), TASKS, "emotion")
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_with_few_speakers_there_is_no_interval_but_their_number():
    for speakers in (1, 2, 4):
        rows = table(speakers=speakers, each=30)
        assert interval(rows, TASKS, "emotion") == {"speakers": speakers}
        found = paired_difference(rows, rows, "emotion")
        assert found == {"speakers": speakers, "ua": {"difference": 0.0}, "wa": {"difference": 0.0}}
    rows = table(speakers=5)
    assert "ua" in interval(rows, TASKS, "emotion") and "interval" in paired_difference(rows, rows, "emotion")["ua"]


def test_where_a_speaker_is_not_known_there_is_no_interval():
    rows = table()
    rows.loc[rows.index[rows["emotion"].notna()][0], "speaker"] = None
    for unknown in (rows, rows.drop(columns="speaker")):
        assert interval(unknown, TASKS, "emotion") == {"speakers": None}
        found = paired_difference(unknown, unknown, "emotion")
        assert found == {"speakers": None, "ua": {"difference": 0.0}, "wa": {"difference": 0.0}}


def test_where_all_speakers_do_alike_the_interval_is_a_point():
    rows = table().dropna()
    rows["emotion_predicted"] = rows["emotion"]
    found = interval(rows, TASKS, "emotion")
    assert found == {"speakers": 6, **{measure: [1.0, 1.0] for measure in ("wa", "ua", "macro_f1")}}


def test_mcnemar_by_hand():
    rows = pandas.DataFrame({"utterance_id": list("abcdefgh"), "emotion": "sad"})
    this = rows.assign(emotion_predicted=["sad"] * 7 + ["angry"])
    other = rows.assign(emotion_predicted=["sad", *["angry"] * 6, "sad"]).iloc[::-1]
    tail = 2 * binom.cdf(1, 7, 0.5)
    assert mcnemar(this, other, "emotion") == {"only_this": 6, "only_other": 1, "p": pytest.approx(tail)}
    assert mcnemar(other, this, "emotion") == {"only_this": 1, "only_other": 6, "p": pytest.approx(tail)}


def test_with_several_seeds_an_utterance_counts_once_in_mcnemars_test():
    twice = pandas.DataFrame({"utterance_id": list("aabbcc"), "emotion": "sad"})
    this = twice.assign(emotion_predicted=["sad", "sad", "sad", "angry", "sad", "angry"])
    other = twice.assign(emotion_predicted=["angry", "angry", "angry", "angry", "angry", "sad"])
    assert mcnemar(this, other, "emotion") == {"only_this": 2, "only_other": 0, "p": 0.5}


@pytest.mark.parametrize("change", ["fewer", "another seed", "another emotion"])
def test_tables_of_different_utterances_are_refused(change):
    rows = table()
    other = {"fewer": rows[rows["utterance_id"] != "u5"], "another seed": table(seeds=2)}.get(change, rows.copy())
    if change == "another emotion":
        other.loc[other["utterance_id"] == "u5", "emotion"] = "angry"
        rows.loc[rows["utterance_id"] == "u5", "emotion"] = "sad"
    for compare in (paired_difference, mcnemar):
        with pytest.raises(UserError, match="differ in their utterances"):
            compare(rows, other, "emotion")


def test_a_confidence_of_one_is_in_the_bin_of_those_just_below():
    rows = pandas.DataFrame({"emotion": ["b", "a"], "emotion_predicted": ["a", "a"]})
    rows["emotion_scores"] = [np.array([1.0, 0.0]), np.array([0.95, 0.05])]
    assert calibration(rows, "emotion")["ece"] == pytest.approx(0.475)  # torchmetrics 1.9.0: 0.525


def test_calibration_by_a_loop():
    rows = table(speakers=10, each=40)
    chance = np.random.default_rng(3)
    scores = chance.dirichlet([0.5, 1, 2], len(rows))
    scores[:3] = [[1.0, 0, 0], [0.4, 0.3, 0.3], [0.2, 0.6, 0.2]]  # the last bin's upper bound, and lower bounds
    rows["emotion_scores"] = list(scores)
    bins: dict[int, list] = {}
    for reference, predicted, row in zip(rows["emotion"], rows["emotion_predicted"], scores, strict=True):
        if isinstance(reference, str):
            bins.setdefault(min(14, int(max(row) * 15)), []).append((max(row), reference == predicted))
    n = sum(map(len, bins.values()))
    error = 0.0
    for place, (_, inside) in enumerate(sorted(bins.items())):
        confidence, accuracy = np.mean(inside, axis=0)
        error += len(inside) / n * abs(accuracy - confidence)
        expected = {"confidence": confidence, "accuracy": accuracy, "n": len(inside)}
        assert calibration(rows, "emotion")["bins"][place] == pytest.approx(expected)
    found = calibration(rows, "emotion")
    assert found["ece"] == pytest.approx(error) and sum(each["n"] for each in found["bins"]) == n == 399
    assert json.loads(json.dumps(found, allow_nan=False)) == found
