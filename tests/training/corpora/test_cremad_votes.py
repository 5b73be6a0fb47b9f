"""CREMA-D's tabulated votes: a miniature of its folder, with the columns that its README describes."""

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.training.corpora import load_corpus

ACTORS = "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n"
TABLE = """"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote","meanEmoResp"
"100001",0,1,0,0,8,1,"1001_IEO_ANG_HI",10,0.8,"N",50
"200001",9,1,0,0,0,0,"1001_IEO_ANG_HI",10,0.9,"A",70
"300001",5,0,0,0,5,0,"1001_IEO_ANG_HI",10,0.5,"A:N",60
"100002",0,0,0,0,4,4,"1001_DFA_SAD_XX",8,0.5,"N:S",40
"""
NAMES = ["1001_DFA_SAD_XX", "1001_IEO_ANG_HI", "1001_TSI_NEU_XX"]


@pytest.fixture
def root(tmp_path):
    for folder in ("AudioWAV", "processedResults"):
        (tmp_path / folder).mkdir()
    for name in NAMES:
        (tmp_path / "AudioWAV" / f"{name}.wav").touch()
    (tmp_path / "VideoDemographics.csv").write_text(ACTORS)
    (tmp_path / "processedResults" / "tabulatedVotes.csv").write_text(TABLE)
    return tmp_path


def votes(rows, *labels):
    return [[row[f"emotion:{label}"] for label in labels] for row in rows]


def test_votes_of_those_who_heard_the_voice_alone_stand_beside_what_was_acted(root):
    rows = load_corpus("cremad", root, votes=True).to_list()
    assert [row["utterance_id"] for row in rows] == NAMES
    assert [row["emotion"] for row in rows] == ["sad", "angry", "neutral"]
    assert votes(rows, "angry", "disgust", "neutral", "sad") == [[0, 0, 4, 4], [0, 1, 8, 1], [None] * 4]
    assert not any(":" in name for name in load_corpus("cremad", root).column_names)


def test_ratings_of_the_face_or_both_are_there_by_choice(root):
    assert votes(load_corpus("cremad", root, votes=True, ratings="face"), "angry", "neutral")[1] == [9, 0]
    assert votes(load_corpus("cremad", root, votes=True, ratings="audiovisual"), "angry", "neutral")[1] == [5, 5]


def test_what_most_heard_may_take_the_place_of_what_was_acted(root):
    assert load_corpus("cremad", root, label="perceived")["emotion"] == [
        None,
        "neutral",
        None,
    ]  # tied, heard, not rated


@pytest.mark.parametrize(("option", "told"), [("ratings", "voice, face, audiovisual"), ("label", "acted, perceived")])
def test_an_option_of_another_value_is_refused(root, option, told):
    with pytest.raises(UserError, match=f"cremad: {option}=all must be one of {told}"):
        load_corpus("cremad", root, **{option: "all"})


def test_a_table_of_votes_that_is_spoilt_or_absent_is_refused(root):
    table = root / "processedResults" / "tabulatedVotes.csv"
    table.write_text(TABLE.replace(",8,1,", ",many,1,", 1))
    with pytest.raises(UserError, match=r"tabulatedVotes\.csv has no number of a row or of votes in line 2"):
        load_corpus("cremad", root, votes=True)
    table.unlink()
    with pytest.raises(UserError, match=r"no such file: .*tabulatedVotes\.csv; fetch it from https://github\.com"):
        load_corpus("cremad", root, votes=True)
    assert load_corpus("cremad", root).num_rows == 3
