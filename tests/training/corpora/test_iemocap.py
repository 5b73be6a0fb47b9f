"""IEMOCAP is licensed: these tests read a tree of its shape."""

import os
import shutil
from collections import Counter

import pandas as pd
import pytest
import soundfile
from iemocap_release import (
    BY_SESSION,
    CLASSES,
    CODES,
    FEMALE,
    IMPROVISED,
    MALE,
    SCRIPTED,
    evaluators,
    name_utterances,
    plan_utterances,
    write_release,
)

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe import CorpusRecipe
from ser_meta.training.corpora import load_corpus, load_rows
from ser_meta.training.corpora.mixture import load_corpora


@pytest.fixture(scope="module")
def utterances():
    return name_utterances(plan_utterances())


@pytest.fixture(scope="module")
def release(utterances, tmp_path_factory):
    """The folder of a whole release."""
    parent = tmp_path_factory.mktemp("iemocap")
    wav = parent / "one.wav"
    soundfile.write(wav, [0.0] * 800, 16_000)
    root = parent / "IEMOCAP_full_release"
    write_release(root, utterances, lambda turn, path: os.link(wav, path))
    return root


@pytest.fixture
def copy(release, tmp_path):
    """A copy of the release's texts, to be spoilt; its recordings are links to the release's."""
    for session in release.iterdir():
        shutil.copytree(session / "dialog", tmp_path / session.name / "dialog")
        (tmp_path / session.name / "sentences").symlink_to(session / "sentences")
    return tmp_path


@pytest.fixture(scope="module")
def rows(release):
    return load_corpus("iemocap", release).to_pandas()


def test_the_whole_release_row_by_row(rows, utterances, release):
    columns = ["utterance_id", "emotion", "speaker", "gender", "style", "session", "transcript"]
    wanted = utterances[utterances["emotion"].notna()].sort_values("utterance_id")[columns]
    found = rows.sort_values("utterance_id")[columns]
    pd.testing.assert_frame_equal(found.reset_index(drop=True), wanted.reset_index(drop=True), check_dtype=False)
    assert set(rows["language"]) == {"en"}
    assert rows[["valence", "arousal", "dominance"]].drop_duplicates().values.tolist() == [[2.5, 3.0, 3.6667]]
    row = rows.iloc[0]
    dialog = row["utterance_id"].rsplit("_", 1)[0]
    assert row["audio"]["path"] == f"{release}/{row['session']}/sentences/wav/{dialog}/{row['utterance_id']}.wav"


def test_the_counts_of_the_paper(rows):
    assert len(rows) == 5531
    assert rows["emotion"].value_counts()[CLASSES].tolist() == [1708, 1636, 1103, 1084]
    classes = pd.crosstab(rows["session"], rows["emotion"])[CLASSES]
    assert {session: counts.tolist() for session, counts in classes.iterrows()} == BY_SESSION
    genders = pd.crosstab(rows["session"], rows["gender"])
    assert genders["female"].to_dict() == FEMALE and genders["male"].to_dict() == MALE
    styles = pd.crosstab(rows["emotion"], rows["style"])
    assert styles["improvised"].to_dict() == IMPROVISED and styles["scripted"].to_dict() == SCRIPTED
    assert rows["speaker"].nunique() == 10


def test_the_parent_folder_will_do(release):
    assert len(load_corpus("iemocap", release.parent)) == 5531


def test_other_labels(release, utterances):
    labels = {"hap": "joy", "exc": "excited", "fru": "frustrated"}
    found = load_corpus("iemocap", release, labels=labels).to_pandas()["emotion"].value_counts()
    wanted = utterances["code"].map(labels).value_counts()
    assert found.to_dict() == wanted.to_dict() and set(found.index) == set(labels.values())
    with pytest.raises(UserError, match=r"unknown emotion code 'happy' in labels: choose among neu, hap, exc"):
        load_corpus("iemocap", release, labels={"happy": "happy"})


TEN = {code: code for code in ("neu", "hap", "exc", "ang", "sad", "fru", "fea", "sur", "dis", "oth")}


def named(utterances, labels):
    """By utterance the votes for each label, as the evaluators were written."""
    counts = {
        turn.utterance_id: Counter(labels[code] for codes in evaluators(turn) for code in codes if code in labels)
        for turn in utterances.itertuples()
    }
    return pd.DataFrame(counts).T.reindex(columns=sorted(set(labels.values()))).fillna(0)


def test_votes_consensus_and_the_four_classes_come_from_one_loader(release, utterances):
    rows = load_corpus("iemocap", release, labels=TEN, votes=True).to_pandas().set_index("utterance_id")
    assert len(rows) == 10_039 and rows["emotion"].isna().sum() == (utterances["code"] == "xxx").sum()
    columns = [f"emotion:{label}" for label in sorted(TEN)]
    wanted = named(utterances, TEN).loc[rows.index]
    assert (rows[columns].to_numpy() == wanted.to_numpy()).all()
    agreed = rows[rows["emotion"].notna()]
    assert (agreed[columns].idxmax(axis=1) == "emotion:" + agreed["emotion"]).all()
    assert (rows[rows["emotion"].isna()][columns].apply(lambda votes: (votes == votes.max()).sum(), axis=1) > 1).all()


def test_of_the_four_classes_those_without_consensus_are_kept_that_somebody_gave_one_of_them(release, utterances):
    rows = load_rows("iemocap", release, votes=True)
    four = named(utterances, {code: name for name, codes in CODES.items() for code in codes})
    given = four.loc[utterances[utterances["code"] == "xxx"]["utterance_id"]].sum(axis=1)
    assert len(rows) == 5531 + (given > 0).sum() and rows["emotion"].count(None) == (given > 0).sum() > 0
    left_out = {"iemocap: no consensus, and no vote for one of the labels": f"{(given == 0).sum()} of the"}
    assert {why: told[: len(left_out[why])] for why, told in rows.remarks["left out"].items()} == left_out
    assert sum(rows["emotion:happy"]) == four.loc[rows["utterance_id"]]["happy"].sum()


def test_a_recipe_that_learns_votes_asks_for_them(release):
    source = CorpusRecipe("iemocap", str(release))
    assert len(load_corpora([source])) == 5531
    assert len(load_corpora([source], votes="shares")) > 5531
    resolved = load_corpora([source], votes="shares", ties="first")
    assert None not in resolved["emotion"]
    source.options = {"votes": False}
    assert len(load_corpora([source], votes="shares")) == 5531


def test_an_evaluator_who_names_something_else_is_shown(copy):
    spoilt = copy / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    spoilt.write_bytes(spoilt.read_bytes().replace(b"Neutral;", b"Bored;", 1))
    with pytest.raises(UserError, match=r"an evaluator of Ses01F_impro01_\w+ names 'Bored', none of neu, hap"):
        load_corpus("iemocap", copy, votes=True)
    assert len(load_corpus("iemocap", copy)) == 5531


def test_some_sessions_alone_are_not_counted(release, tmp_path):
    (tmp_path / "Session3").symlink_to(release / "Session3")
    assert set(load_corpus("iemocap", tmp_path)["session"]) == {"Session3"}


def test_a_whole_release_with_a_changed_class_is_refused(copy):
    spoilt = copy / "Session2" / "dialog" / "EmoEvaluation" / "Ses02F_impro01.txt"
    spoilt.write_bytes(spoilt.read_bytes().replace(b"\tneu\t", b"\tfru\t", 1))
    expected = r"Session2 neutral 361 instead of 362; Session2 (fe)?male \d+ instead of \d+; neutral improvised 1098 "
    with pytest.raises(UserError, match=expected + "instead of 1099"):
        load_corpus("iemocap", copy)


def test_a_whole_release_without_one_file_is_refused(copy):
    (copy / "Session5" / "dialog" / "EmoEvaluation" / "Ses05M_script01_1b.txt").unlink()
    with pytest.raises(UserError, match=r"is not the known release: Session5 neutral \d+ instead of 384"):
        load_corpus("iemocap", copy)


def test_a_line_that_cannot_be_read_is_shown(copy):
    spoilt = copy / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    spoilt.write_bytes(b"[6.2901 - 8.2357]\tSes01F_impro01_F000\n")
    with pytest.raises(UserError, match=rf"{spoilt} has an evaluation that cannot be read: .*Ses01F_impro01_F000"):
        load_corpus("iemocap", copy)


def test_a_foreign_utterance_is_refused(copy):
    spoilt = copy / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    spoilt.write_bytes(b"[6.2901 - 8.2357]\tSes01_impro01_F000\tneu\t[2.5, 2.5, 2.5]\n")
    with pytest.raises(UserError, match=r"'Ses01_impro01_F000' is not named like Ses01F_impro01_F000"):
        load_corpus("iemocap", copy)


def test_a_missing_recording_is_named(copy):
    (copy / "Session4" / "sentences").unlink()
    with pytest.raises(
        UserError, match=r"no such recording: .*/Session4/sentences/wav/.* \(1031 of 5531 are missing\)"
    ):
        load_corpus("iemocap", copy)
