"""Predictions beside what several raters said, against loops written out."""

from itertools import combinations

import numpy as np
import pandas
import pytest
from scipy.spatial.distance import cosine, jensenshannon
from scipy.stats import entropy
from sklearn.metrics import f1_score

from ser_meta.configuration.errors import UserError
from ser_meta.training.measures.metrics import evaluate_predictions, flatten
from ser_meta.training.measures.resampling import SEED
from ser_meta.training.measures.vote_intervals import paired_votes, vote_calibration, vote_interval
from ser_meta.training.measures.votes import MEASURES, vote_measures

LABELS = ["angry", "happy", "sad"]
TASKS = {"emotion": {"kind": "classification", "labels": LABELS}}


def table(seed: int = 0, speakers: int = 6, each: int = 5) -> pandas.DataFrame:
    """Utterances of whom some have no rater, one or several, with the scores of a model that `seed` draws."""
    corpus, chance = np.random.default_rng(7), np.random.default_rng(seed)
    place = np.arange(speakers * each)
    votes = corpus.multinomial(4, [0.5, 0.3, 0.2], len(place)).astype(float)
    votes[3], votes[4], votes[5] = np.nan, [1, 0, 0], [2, 2, 0]
    scores = chance.dirichlet([1, 1, 1], len(place))
    rows = pandas.DataFrame(
        {
            "utterance_id": [f"u{number}" for number in place],
            "speaker": [f"s{number // each}" for number in place],
            "emotion": [LABELS[most] for most in np.nan_to_num(votes).argmax(axis=1)],
            **{f"emotion:{label}": votes[:, column] for column, label in enumerate(LABELS)},
        }
    )
    rows.loc[5, "emotion"] = None  # tied
    rows["emotion_scores"] = list(scores)
    rows["emotion_predicted"] = [LABELS[best] for best in scores.argmax(axis=1)]
    return rows


def rated(rows: pandas.DataFrame) -> list[tuple[list[float], list[float], str]]:
    """Votes, scores and the model's label of each utterance that somebody rated."""
    found = []
    for _, row in rows.iterrows():
        votes = [row[f"emotion:{label}"] for label in LABELS]
        if not np.isnan(votes).all() and sum(votes):
            found.append((votes, list(row["emotion_scores"]), row["emotion_predicted"]))
    return found


def written_out(rows: pandas.DataFrame) -> dict[str, float]:
    of_each: dict[str, list[float]] = {name: [] for name in MEASURES if name != "accepted_macro_f1"}
    meant, said = [], []
    for votes, scores, label in rated(rows):
        shares = [vote / sum(votes) for vote in votes]
        of_each["jensen_shannon"].append(jensenshannon(shares, scores, base=2) ** 2)
        of_each["kl"].append(entropy(shares, scores))
        of_each["cosine"].append(1 - cosine(shares, scores))
        of_each["total_variation"].append(sum(abs(p - q) for p, q in zip(shares, scores, strict=True)) / 2)
        of_each["brier"].append(sum((p - q) ** 2 for p, q in zip(shares, scores, strict=True)))
        of_each["accepted"].append(shares[LABELS.index(label)] > 1 / 3)
        meant.append([share > 1 / 3 for share in shares])
        said.append([score > 1 / 3 for score in scores])
        raters = [name for name, vote in zip(LABELS, votes, strict=True) for _ in range(int(vote))]
        if len(raters) > 1:
            of_each["rater_agreement"].append(np.mean([rater == label for rater in raters]))
            of_each["most_agreement"].append(max(shares))
            of_each["raters_agreement"].append(np.mean([one == other for one, other in combinations(raters, 2)]))
    means = {name: float(np.mean(values)) for name, values in of_each.items()}
    return means | {"accepted_macro_f1": f1_score(np.array(meant), np.array(said), average="macro")}


def test_each_measure_is_its_formula():
    rows = table()
    found = vote_measures(rows, "emotion", LABELS)
    for name, expected in written_out(rows).items():
        assert found[name] == pytest.approx(expected, abs=1e-12), name
    assert (found["n"], found["n_several"]) == (29, 28)
    confusion = np.zeros((3, 3))
    for votes, _, label in rated(rows):
        for place, vote in enumerate(votes):
            confusion[place, LABELS.index(label)] += vote / sum(votes)
    np.testing.assert_allclose(found["confusion"], confusion)
    assert np.sum(found["confusion"]) == pytest.approx(29)


def test_the_calibration_error_is_beside_the_share_of_raters():
    rows, gaps = table(), np.zeros(15)
    for votes, scores, label in rated(rows):
        place = min(int(max(scores) * 15), 14)
        gaps[place] += votes[LABELS.index(label)] / sum(votes) - max(scores)
    assert vote_calibration(rows, "emotion", LABELS) == pytest.approx(np.abs(gaps).sum() / 29)


def test_krippendorffs_alpha_is_that_of_the_raters_one_by_one():
    krippendorff = pytest.importorskip("krippendorff")
    rows = table()
    found = vote_measures(rows, "emotion", LABELS)
    raters, with_model = [], []
    for votes, _, label in rated(rows):
        said = [place for place, vote in enumerate(votes) for _ in range(int(vote))]
        if len(said) > 1:
            raters.append(said + [np.nan] * (6 - len(said)))
            with_model.append([*said, LABELS.index(label), *[np.nan] * (5 - len(said))])
    for name, table_of_raters in (("alpha", raters), ("alpha_with_model", with_model)):
        alpha = krippendorff.alpha(np.array(table_of_raters).T, level_of_measurement="nominal")
        assert found[name] == pytest.approx(alpha), name


def test_raters_who_always_agree_have_no_alpha():
    pytest.importorskip("krippendorff")
    rows = table().assign(**{"emotion:angry": 3.0, "emotion:happy": 0.0, "emotion:sad": 0.0})
    found = vote_measures(rows, "emotion", LABELS)
    assert found["alpha"] is None and found["undefined"]["alpha"] == "all raters always said the same"
    assert found["raters_agreement"] == 1


def test_without_the_library_the_reason_names_the_extra(monkeypatch):
    monkeypatch.setattr("ser_meta.training.measures.votes.krippendorff", None)
    found = vote_measures(table(), "emotion", LABELS)
    assert found["alpha"] is None and 'pip install "ser-meta[agreement]"' in found["undefined"]["alpha"]


def test_shares_do_not_tell_how_many_raters_there_were():
    rows = table()
    votes = rows[[f"emotion:{label}" for label in LABELS]]
    shares = rows.assign(**(votes.div(votes.sum(axis=1), axis=0) * 0.999))  # none of them whole
    found, counted = vote_measures(shares, "emotion", LABELS), vote_measures(rows, "emotion", LABELS)
    assert found["raters_agreement"] is None and found["n_several"] == 0
    assert found["undefined"]["raters_agreement"] == "the votes do not tell how many raters there were"
    for name in ("jensen_shannon", "kl", "cosine", "total_variation", "brier", "accepted", "accepted_macro_f1"):
        assert found[name] == pytest.approx(counted[name]), name


def test_hard_labels_as_votes_change_no_other_figure_to_the_bit():
    rows = table()
    plain = evaluate_predictions(rows.drop(columns=[f"emotion:{label}" for label in LABELS]), TASKS)
    sure = rows.assign(**{f"emotion:{label}": (rows["emotion"] == label).astype(float) for label in LABELS})
    found = evaluate_predictions(sure, TASKS)
    votes = found["emotion"].pop("votes")
    assert found == plain and votes["n"] == plain["emotion"]["n"]
    assert votes["accepted"] == plain["emotion"]["wa"]
    assert votes["confusion"] == plain["emotion"]["confusion"]
    assert flatten(evaluate_predictions(sure, TASKS))["emotion_jensen_shannon"] == votes["jensen_shannon"]


def test_the_intervals_equal_a_loop_over_drawn_speakers():
    rows, generator, drawn = table(), np.random.default_rng(SEED), []
    by_speaker, names = dict(iter(rows.groupby("speaker"))), sorted(rows["speaker"].unique())
    for _ in range(30):
        places = generator.integers(0, len(names), len(names))
        drawn.append(written_out(pandas.concat([by_speaker[names[place]] for place in places])))
    found = vote_interval(rows, "emotion", LABELS, resamples=30)
    assert found.pop("speakers") == 6 and set(found) == set(MEASURES)
    for name, bounds in found.items():
        np.testing.assert_allclose(bounds, np.percentile([each[name] for each in drawn], [2.5, 97.5]), err_msg=name)
    assert vote_interval(rows[rows["speaker"] < "s3"], "emotion", LABELS) == {"speakers": 3}


def test_a_difference_is_that_of_the_same_utterances_and_drawn_in_pairs():
    rows, others = table(seed=0), table(seed=1)
    found = paired_votes(rows, others, "emotion", LABELS, resamples=50)
    this, other = written_out(rows), written_out(others)
    assert set(found) == set(MEASURES) - {"raters_agreement", "most_agreement"}
    for name, change in found.items():
        assert change["difference"] == pytest.approx(this[name] - other[name])
        assert change["interval"][0] <= change["difference"] <= change["interval"][1]
    assert all(
        change == {"difference": 0.0, "interval": [0.0, 0.0]}
        for change in paired_votes(rows, rows, "emotion", LABELS, resamples=50).values()
    )
    for fewer in (others[1:], others.drop(index=5)):  # u5 is tied and has no label
        with pytest.raises(UserError, match="differ in their utterances"):
            paired_votes(rows, fewer, "emotion", LABELS)
