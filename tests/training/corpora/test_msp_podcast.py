import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.training.corpora import load_corpus

TABLE = """FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set
MSP-PODCAST_0001_0008.wav,N,2.2,4.0,2.6,30,Male,Test1
MSP-PODCAST_0002_0033.wav,U,5.5,5,4.25,127,Female,Train
MSP-PODCAST_0003_0051.wav,X,4.0,3.2,4.0,Unknown,Unknown,Development
MSP-PODCAST_0004_0002.wav,O,4.0,3.2,,12,Male,Test2
"""


@pytest.fixture
def root(tmp_path):
    for name in ("Labels", "Audios", "Transcripts"):
        (tmp_path / name).mkdir()
    (tmp_path / "Labels" / "labels_consensus.csv").write_text(TABLE)
    for line in TABLE.splitlines()[1:]:
        (tmp_path / "Audios" / line.split(",")[0]).touch()
    (tmp_path / "Transcripts" / "MSP-PODCAST_0001_0008.txt").write_text("well, I\u2019d say\nso \n", encoding="utf-8")
    return tmp_path


def test_the_table_becomes_rows(root):
    rows = load_corpus("msp_podcast", root).to_list()
    assert rows[0] == {
        "audio": {"bytes": None, "path": str(root / "Audios" / "MSP-PODCAST_0001_0008.wav")},
        "utterance_id": "MSP-PODCAST_0001_0008",
        "emotion": "neutral",
        "speaker": "30",
        "gender": "male",
        "style": None,
        "transcript": "well, I\u2019d say so",
        "session": None,
        "language": "en",
        "intensity": None,
        "age": None,
        "split": "test",
        "valence": 4.0,
        "arousal": 2.2,
        "dominance": 2.6,
    }
    assert [row["emotion"] for row in rows[1:]] == ["surprised", None, "other"]
    assert [row["split"] for row in rows[1:]] == ["train", "validation", "test2"]
    assert (rows[2]["speaker"], rows[2]["gender"], rows[1]["transcript"]) == (None, None, None)
    assert rows[3]["dominance"] is None


def test_transcripts_are_optional_and_the_earlier_name_of_the_table_is_read(root):
    (root / "Transcripts").rename(root / "Elsewhere")
    (root / "Labels" / "labels_consensus.csv").rename(root / "Labels" / "labels_concensus.csv")
    assert load_corpus("msp_podcast", root)["transcript"] == [None] * 4


def test_a_missing_recording_is_named_and_counted(root):
    (root / "Audios" / "MSP-PODCAST_0002_0033.wav").unlink()
    with pytest.raises(UserError, match=r"no such recording: .*MSP-PODCAST_0002_0033\.wav \(1 of 4 are missing\)"):
        load_corpus("msp_podcast", root)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",U,", ",Z,", r"has the class 'Z': expected one of N, H, S"),
        ("Train", "Test9", r"is in 'Test9': expected one of Train, Development"),
        ("4.25", "high", r"has EmoDom 'high': expected a number"),
        ("EmoVal", "Valence", r"has no column 'EmoVal', only FileName"),
    ],
)
def test_a_table_of_another_kind_is_refused(root, old, new, message):
    (root / "Labels" / "labels_consensus.csv").write_text(TABLE.replace(old, new))
    with pytest.raises(UserError, match=message):
        load_corpus("msp_podcast", root)


DETAILED = """FileName,WorkerID,EmoClass_Major,EmoClass_Second,EmoAct,EmoVal,EmoDom
MSP-PODCAST_0001_0008.wav,WORKER01,Neutral,"Neutral,Concerned",2,4,3
MSP-PODCAST_0001_0008.wav,WORKER02,Sad,"Sad,Neutral,Depressed",2,3,2
MSP-PODCAST_0001_0008.wav,WORKER03,Other-tired,,2,4,3
MSP-PODCAST_0003_0051.wav,WORKER01,Fear,Surprise,5,3,3
MSP-PODCAST_0003_0051.wav,WORKER03,Surprise,"Surprise,Happy",5,5,4
"""
LABELS = ("neutral", "happy", "sad", "fearful", "surprised", "other")


@pytest.mark.parametrize(
    ("secondary", "first", "third"),
    [(False, [1, 0, 1, 0, 0, 1], [0, 0, 0, 1, 1, 0]), (True, [2, 0, 1, 0, 0, 1], [0, 1, 0, 1, 2, 0])],
)
def test_listeners_vote_with_their_primary_emotion_and_by_choice_with_further_ones(root, secondary, first, third):
    (root / "Labels" / "labels_detailed.csv").write_text(DETAILED)
    rows = load_corpus("msp_podcast", root, votes=True, secondary=secondary).to_list()
    votes = [[row[f"emotion:{label}"] for label in LABELS] for row in rows]
    assert votes == [first, [None] * 6, third, [None] * 6]
    assert [row["emotion"] for row in rows] == ["neutral", "surprised", None, "other"]  # the corpus's own consensus


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "WORKER03,Surprise",
            "WORKER01,Surprise",
            r"WORKER01 rates MSP-PODCAST_0003_0051.wav again in line 6",
        ),
        ("WorkerID", "Worker", r"labels_detailed.csv has no column 'WorkerID', only FileName, Worker"),
    ],
)
def test_a_table_of_listeners_that_is_spoilt_is_refused(root, old, new, message):
    (root / "Labels" / "labels_detailed.csv").write_text(DETAILED.replace(old, new))
    with pytest.raises(UserError, match=message):
        load_corpus("msp_podcast", root, votes=True)
    assert len(load_corpus("msp_podcast", root)) == 4
