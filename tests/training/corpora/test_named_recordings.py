"""Corpora whose folders and file names say what was said: a miniature tree of each, with true names.

A recording that macOS leaves beside another, `._NAME`, is none.
"""

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.training.corpora import load_corpus

COLUMNS = ("emotion", "speaker", "gender", "style", "transcript", "session", "language", "intensity", "age")


class Tree(NamedTuple):
    """A corpus in small, and what it becomes.

    Args:
        files: empty ones.
        recording: of one utterance, and what stands in its row; other columns are null.
        facts: columns, and what stands in them row by row.
        refusal: of a recording with another name, a regular expression of its `{file}`.
        foreign: the ends of such names; they stand in the folder of `recording`.
        texts: further files with what they hold.
        folder: which is loaded.
        enough: a folder that may be loaded instead, and how many of the rows it gives.
    """

    files: tuple[str, ...]
    recording: str
    row: dict[str, Any]
    facts: dict[tuple[str, ...], list[tuple]]
    refusal: str
    foreign: tuple[str, ...]
    texts: dict[str, str] = {}
    folder: str = "."
    enough: tuple[str, int] | None = None


ACTORS = """"ActorID","Age","Sex","Race","Ethnicity"
1001,51,"Male","Caucasian","Not Hispanic"
1040,42,"Male","Caucasian","Not Hispanic"
1047,22,"Female","Unknown","Hispanic"
1076,25,"Female","Caucasian","Not Hispanic"
"""
CREMAD = ("1001_IEO_ANG_HI", "1040_ITH_SAD_X", "1047_DFA_NEU_XX", "1076_MTI_SAD_XX", "._1001_IEO_ANG_HI")
PROMPTS = """( arctic_a0001 "The lamp, of course, was green." )
( arctic_a0002 "Nobody came (again)." )
( arctic_b0001 "Another sentence." )
"""
JL = "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)"
SPEECH, SONG = "Audio_Speech_Actors_01-24", "Audio_Song_Actors_01-24"

TREES = {
    "cremad": Tree(
        files=(*(f"AudioWAV/{name}.wav" for name in CREMAD), *(f"AudioMP3/{name}.mp3" for name in CREMAD)),
        texts={"VideoDemographics.csv": ACTORS},
        recording="AudioWAV/1001_IEO_ANG_HI.wav",
        row={
            "utterance_id": "1001_IEO_ANG_HI",
            "emotion": "angry",
            "speaker": "1001",
            "gender": "male",
            "transcript": "It's eleven o'clock",
            "language": "en",
            "intensity": "high",
            "age": 51,
            "race": "Caucasian",
        },
        facts={
            ("emotion", "intensity", "gender", "race", "transcript"): [
                ("angry", "high", "male", "Caucasian", "It's eleven o'clock"),
                ("sad", None, "male", "Caucasian", "I think I have a doctor's appointment"),
                ("neutral", None, "female", None, "Don't forget a jacket"),
            ],
        },
        refusal=r"{file} is not named like 1001_DFA_ANG_XX\.wav",
        foreign=("1001_IEO_ANG.wav", "1001_XYZ_ANG_HI.wav", "1001_IEO_JOY_HI.wav", "OAF_back_angry.wav"),
    ),
    "emodb": Tree(
        files=(
            *("wav/03a01Fa.wav", "wav/08b02Tb.WAV", "wav/09a04Lc.wav", "wav/16b10Wa.wav"),
            *("wav/._03a01Fa.wav", "erkennung.txt"),
        ),
        recording="wav/03a01Fa.wav",
        row={
            "utterance_id": "03a01Fa",
            "emotion": "happy",
            "speaker": "03",
            "gender": "male",
            "transcript": "Der Lappen liegt auf dem Eisschrank.",
            "language": "de",
            "age": 31,
        },
        facts={
            ("emotion", "gender", "age"): [
                ("happy", "male", 31),
                ("sad", "female", 34),
                ("bored", "female", 21),
                ("angry", "female", 31),
            ],
        },
        refusal=r"{file} is not named like 03a01Fa\.wav",
        foreign=("04a01Fa.wav", "03a03Fa.wav", "03a01Xa.wav", "03a01F.wav"),
        enough=("wav", 4),
    ),
    "emov_db": Tree(
        files=(
            "EmoV-DB/bea_Amused/amused_1-15_0001.wav",
            "EmoV-DB/bea_Amused/._amused_1-15_0001.wav",
            "EmoV-DB/jenie_Angry/anger_1-28_0002.wav",
            "EmoV-DB/josh_Sleepy/sleepiness_1-28_0001.wav",
            "EmoV-DB/sam/Disgusted/disgust_1-28_0001 copy.wav",
            "EmoV-DB/sam/sleepiness_29-56_0029.wav",
            "EmoV-DB/sam/neutral/neutral_29-56_0029.wav",
        ),
        texts={"EmoV-DB/cmuarctic.data": PROMPTS},
        folder="EmoV-DB",
        recording="EmoV-DB/bea_Amused/amused_1-15_0001.wav",
        row={
            "utterance_id": "bea_amused_amused_1-15_0001",
            "emotion": "amused",
            "speaker": "bea",
            "gender": "female",
            "transcript": "The lamp, of course, was green.",
            "language": "en",
        },
        facts={
            ("speaker", "gender", "emotion"): [
                ("bea", "female", "amused"),
                ("jenie", "female", "angry"),
                ("josh", "male", "sleepy"),
                ("sam", "male", "disgust"),
                ("sam", "male", "neutral"),
                ("sam", "male", "sleepy"),
            ],
            ("transcript",): [
                ("The lamp, of course, was green.",),
                ("Nobody came (again).",),
                ("The lamp, of course, was green.",),
                (None,),
                (None,),
                (None,),
            ],
        },
        refusal="the folders of {file} name no speaker or no emotion",
        foreign=("../neutral/neutral_1-28_0001.wav", "../sam/take_0001.wav"),
    ),
    "emovo": Tree(
        files=(
            *("EMOVO/f1/gio-f1-b1.wav", "EMOVO/f2/neu-f2-d1.wav", "EMOVO/m3/pau-m3-l3.wav"),
            *("EMOVO/m3/._pau-m3-l3.wav", "EMOVO/documents/a.pdf"),
        ),
        recording="EMOVO/f1/gio-f1-b1.wav",
        row={
            "utterance_id": "gio-f1-b1",
            "emotion": "happy",
            "speaker": "f1",
            "gender": "female",
            "transcript": "Gli operai si alzano presto.",
            "language": "it",
            "age": 28,
        },
        facts={
            ("emotion", "speaker", "gender"): [
                ("happy", "f1", "female"),
                ("neutral", "f2", "female"),
                ("fearful", "m3", "male"),
            ],
        },
        refusal=r"{file} is not named like gio-f1-b1\.wav",
        foreign=("gio-f4-b1.wav", "joy-f1-b1.wav", "gio-f1-b4.wav", "gio-f1.wav"),
        enough=("EMOVO", 3),
    ),
    "jl_corpus": Tree(
        files=(
            *(f"{JL}/female1_angry_10a_1.wav", f"{JL}/female2_encouraging_1b_2.wav", f"{JL}/male2_excited_3a_1.wav"),
            *(f"{JL}/._male2_excited_3a_1.wav", "perception test/stimulus 1.wav"),
        ),
        texts={f"{JL}/female1_angry_10a_1.txt": "Anna paints\r\na door.\r\n"},
        recording=f"{JL}/female1_angry_10a_1.wav",
        row={
            "utterance_id": "female1_angry_10a_1",
            "emotion": "angry",
            "speaker": "female1",
            "gender": "female",
            "transcript": "Anna paints a door.",
            "session": "a",
            "language": "en",
        },
        facts={
            ("emotion", "gender", "session", "transcript"): [
                ("angry", "female", "a", "Anna paints a door."),
                ("encouraging", "female", "b", None),
                ("excited", "male", "a", None),
            ],
        },
        refusal=r"{file} is not named like female1_angry_10a_1\.wav",
        foreign=("female3_angry_1a_1.wav", "female1_bored_1a_1.wav", "female1_angry_1_1.wav"),
        enough=(JL, 3),
    ),
    "ravdess": Tree(
        files=(
            f"{SPEECH}/Actor_01/03-01-01-01-01-01-01.wav",
            f"{SPEECH}/Actor_24/03-01-06-02-02-02-24.FLAC",
            f"{SONG}/Actor_24/03-02-05-02-01-01-24.flac",
            f"{SPEECH}/Actor_01/._03-01-01-01-01-01-01.wav",
        ),
        recording=f"{SPEECH}/Actor_24/03-01-06-02-02-02-24.FLAC",
        row={
            "utterance_id": "03-01-06-02-02-02-24",
            "emotion": "fearful",
            "speaker": "24",
            "gender": "female",
            "style": "speech",
            "transcript": "Dogs are sitting by the door",
            "language": "en",
            "intensity": "strong",
        },
        facts={
            ("utterance_id", "emotion", "gender", "style", "intensity"): [
                ("03-01-01-01-01-01-01", "neutral", "male", "speech", "normal"),
                ("03-01-06-02-02-02-24", "fearful", "female", "speech", "strong"),
                ("03-02-05-02-01-01-24", "angry", "female", "song", "strong"),
            ],
        },
        refusal="{file} is not named like",
        foreign=("notes.txt", "03-01-09-01-01-01-01.wav", "01-01-01-01-01-01-01.wav", "03-01-01.wav"),
        enough=(SPEECH, 2),
    ),
    "savee": Tree(
        files=tuple(
            f"AudioData/{name}"
            for name in ("DC/a01.wav", "JE/n30.wav", "JK/sa15.wav", "KL/su02.wav", "KL/._su02.wav", "Info.txt")
        ),
        recording="AudioData/DC/a01.wav",
        row={"utterance_id": "DC_a01", "emotion": "angry", "speaker": "DC", "gender": "male", "language": "en"},
        facts={
            ("utterance_id", "emotion"): [
                ("DC_a01", "angry"),
                ("JE_n30", "neutral"),
                ("JK_sa15", "sad"),
                ("KL_su02", "surprised"),
            ],
        },
        refusal=r"{file} is not named like DC/a01\.wav or DC_a01\.wav",
        foreign=("x01.wav", "a1.wav", "XY_a01.wav"),
    ),
    "tess": Tree(
        files=(
            "TESS/OAF_Fear/OAF_back_fear.wav",
            "TESS/OAF_Pleasant_surprise/OAF_back_ps.wav",
            "TESS/OAF_neutral/OA_bite_neutral.wav",
            "TESS/YAF_pleasant_surprised/YAF_youth_ps.wav",
            "TESS/YAF_sad/YAF_youth_sad.wav",
            "TESS/YAF_sad/._YAF_youth_sad.wav",
        ),
        folder="TESS",
        recording="TESS/OAF_Fear/OAF_back_fear.wav",
        row={
            "utterance_id": "OAF_back_fear",
            "emotion": "fearful",
            "speaker": "OAF",
            "gender": "female",
            "transcript": "Say the word back",
            "language": "en",
            "age": 64,
        },
        facts={
            ("emotion", "speaker", "age"): [
                ("fearful", "OAF", 64),
                ("surprised", "OAF", 64),
                ("neutral", "OAF", 64),
                ("surprised", "YAF", 26),
                ("sad", "YAF", 26),
            ],
        },
        refusal=r"{file} is not named like OAF_back_angry\.wav",
        foreign=("OAF_back.wav", "OAF_back_calm.wav", "MAF_back_sad.wav"),
    ),
}


@pytest.fixture
def write(tmp_path):
    """Writes a corpus in small; its folder."""

    def write(corpus: str) -> Path:
        tree = TREES[corpus]
        for name in (*tree.files, *tree.texts):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(tree.texts.get(name, "").encode())
        return tmp_path

    return write


@pytest.mark.parametrize("corpus", TREES)
def test_names_become_metadata(corpus, write):
    root, tree = write(corpus), TREES[corpus]
    rows = load_corpus(corpus, root / tree.folder).to_list()
    (row,) = (row for row in rows if row["utterance_id"] == tree.row["utterance_id"])
    audio = {"bytes": None, "path": str(root / tree.recording)}
    assert row == {**dict.fromkeys(COLUMNS), **tree.row, "audio": audio}
    for columns, expected in tree.facts.items():
        assert [tuple(row[column] for column in columns) for row in rows] == expected


@pytest.mark.parametrize("corpus", [corpus for corpus, tree in TREES.items() if tree.enough])
def test_a_part_of_the_tree_is_enough(corpus, write):
    root, (folder, count) = write(corpus), TREES[corpus].enough
    found = load_corpus(corpus, root / folder)["utterance_id"]
    assert len(found) == count and set(found) <= set(load_corpus(corpus, root)["utterance_id"])


@pytest.mark.parametrize(("corpus", "name"), [(corpus, name) for corpus in TREES for name in TREES[corpus].foreign])
def test_a_foreign_name_is_refused(corpus, name, write):
    root, tree = write(corpus), TREES[corpus]
    file = (root / tree.recording).parent.joinpath(name).resolve()
    file.parent.mkdir(exist_ok=True)
    file.touch()
    with pytest.raises(UserError, match=tree.refusal.format(file=re.escape(str(file)))):
        load_corpus(corpus, root / tree.folder)


def test_an_actor_who_is_not_in_the_table_is_unknown(write):
    root = write("cremad")
    (root / "VideoDemographics.csv").write_text(ACTORS.replace("1001,", "1002,"))
    first = load_corpus("cremad", root)[0]
    assert [first[name] for name in ("speaker", "gender", "age", "race")] == ["1001", None, None, None]


def test_the_table_of_actors_is_asked_for(write):
    table = write("cremad") / "VideoDemographics.csv"
    table.write_text("actor,age\n1001,51\n")
    with pytest.raises(UserError, match=r"VideoDemographics\.csv has no column 'ActorID', only actor, age"):
        load_corpus("cremad", table.parent)
    table.unlink()
    with pytest.raises(UserError, match=r"no such file: .*VideoDemographics\.csv; fetch it from https://github\.com"):
        load_corpus("cremad", table.parent)


def test_without_the_prompts_there_are_no_transcripts(write):
    root = write("emov_db") / "EmoV-DB"
    (root / "cmuarctic.data").unlink()
    assert set(load_corpus("emov_db", root)["transcript"]) == {None}


def test_of_two_copies_the_fuller_is_read(write):
    root = write("jl_corpus")
    part = root / "a part" / "JL(wav+txt)"
    part.mkdir(parents=True)
    (part / "female1_angry_10a_1.wav").touch()
    assert load_corpus("jl_corpus", root)["utterance_id"] == [
        "female1_angry_10a_1",
        "female2_encouraging_1b_2",
        "male2_excited_3a_1",
    ]


def test_a_recording_without_a_speaker_is_refused(write):
    root = write("savee")
    (root / "AudioData" / "a01.wav").touch()
    with pytest.raises(UserError, match=r"a01\.wav is in no speaker's folder: expected one of DC, JE, JK, KL"):
        load_corpus("savee", root)


def test_one_folder_with_the_speakers_in_the_names_gives_the_same_rows(tmp_path):
    tree = TREES["savee"]
    for name in tree.files[:4]:
        (tmp_path / name.removeprefix("AudioData/").replace("/", "_")).touch()
    rows = load_corpus("savee", tmp_path).to_list()
    assert [(row["utterance_id"], row["emotion"]) for row in rows] == tree.facts["utterance_id", "emotion"]
    assert [row["speaker"] for row in rows] == ["DC", "JE", "JK", "KL"]


def test_a_copy_inside_the_corpus_is_ignored(write):
    root = write("tess") / "TESS"
    shutil.copytree(root, root.parent / "copy")
    (root.parent / "copy").rename(root / "TESS")
    paths = [audio["path"] for audio in load_corpus("tess", root)["audio"]]
    assert len(paths) == 5 and not any("TESS/TESS" in path for path in paths)


def test_one_folder_for_all_speakers_is_enough(tmp_path):
    for name in TREES["tess"].files:
        (tmp_path / Path(name).name).touch()
    assert len(load_corpus("tess", tmp_path)) == 5


def test_channels_can_be_chosen(write):
    root = write("ravdess")
    assert load_corpus("ravdess", root, channels=["song"])["style"] == ["song"]
    assert load_corpus("ravdess", root, channels="speech")["style"] == ["speech", "speech"]
    with pytest.raises(UserError, match=r"unknown channel 'sing': choose among speech, song"):
        load_corpus("ravdess", root, channels=["sing"])


def test_one_official_folder_or_the_actors_alone_are_enough(write):
    root = write("ravdess")
    assert len(load_corpus("ravdess", root / SPEECH, channels=["speech"])) == 2
    with pytest.raises(UserError, match="no recording of song"):
        load_corpus("ravdess", root / SPEECH, channels=["song"])
    (root / SONG / "Actor_24" / "03-02-05-02-01-01-24.flac").unlink()
    assert len(load_corpus("ravdess", root)) == 2


def test_the_real_ravdess(shared):
    rows = load_corpus("ravdess", shared / "data" / "ravdess").to_pandas()
    assert Counter(rows["style"]) == {"speech": 1440, "song": 1012}
    speech, song = (rows[rows["style"] == style] for style in ("speech", "song"))
    assert Counter(speech["emotion"]) == {"neutral": 96} | dict.fromkeys(
        ["calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"], 192
    )
    assert set(song["emotion"]) == {"neutral", "calm", "happy", "sad", "angry", "fearful"}
    assert set(speech["speaker"]) - set(song["speaker"]) == {"18"}
    assert Counter(speech["gender"]) == {"female": 720, "male": 720}
    assert rows["transcript"].nunique() == 2
