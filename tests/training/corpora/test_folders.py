import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.training.corpora import load_rows

FILES = ("happy/05-a.wav", "happy/5-b.flac", "sad/05-c.wav", "sad/._05-c.wav", "sad/notes.txt")


@pytest.fixture
def folder(tmp_path):
    """Writes recordings at these paths below the folder of the corpus."""

    def write(*files):
        for name in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"RIFF")
        return tmp_path

    return write


def test_a_folder_a_class(folder):
    root = folder(*FILES)
    rows = load_rows("folders", root, speaker=r"(\d+)-")
    assert rows["utterance_id"] == list(FILES[:3]) and rows["audio"] == [str(root / name) for name in FILES[:3]]
    assert rows["emotion"] == ["happy", "happy", "sad"] and rows["speaker"] == ["05", "5", "05"]
    assert load_rows("folders", root)["speaker"] == [None] * 3 and "split" not in rows.column_names


def test_sides_above_the_classes(folder):
    rows = load_rows(
        "folders", folder("train/happy/a.wav", "Dev/happy/b.wav", "test/Happy/x/c.wav"), same_spelling=True
    )
    assert rows["split"] == ["Dev", "test", "train"] and rows["emotion"] == ["happy"] * 3


def test_a_metadata_file_is_the_table(folder):
    root = folder("a.wav", "clips/b.wav")
    (root / "metadata.csv").write_text("file_name,label,speaker\na.wav,joy,1\nclips/b.wav,n/a,2\n")
    rows = load_rows("folders", root, columns={"emotion": "label"})
    assert rows["audio"] == [str(root / "a.wav"), str(root / "clips" / "b.wav")] and rows["emotion"] == ["joy", None]


def test_a_class_may_be_a_linked_folder(folder, tmp_path_factory):
    root, elsewhere = folder("happy/a.wav"), tmp_path_factory.mktemp("disk")
    (elsewhere / "b.wav").write_bytes(b"RIFF")
    (root / "sad").symlink_to(elsewhere)
    (elsewhere / "again").symlink_to(root)  # a way in a circle, which is gone once
    rows = load_rows("folders", root)
    assert rows["utterance_id"] == ["happy/a.wav", "sad/b.wav"] and rows["emotion"] == ["happy", "sad"]


def test_a_class_that_cannot_be_opened_is_refused(folder, locked):
    folder("happy/a.wav", "sad/b.wav")
    locked("sad")
    with pytest.raises(UserError, match=r"^sad cannot be opened: see to the permissions"):
        load_rows("folders", ".")


def test_classes_below_other_folders_are_told_and_found_by_an_expression(folder):
    root = folder("anna/happy/1.wav", "bela/sad/2.wav")
    rows = load_rows("folders", root)
    assert rows["emotion"] == ["anna", "bela"]
    assert rows.remarks == {"folders in those of classes": {"anna": "happy", "bela": "sad"}}
    rows = load_rows("folders", root, speaker="^([^/]+)/", emotion="/([^/]+)/[^/]+$")
    assert rows["emotion"] == ["happy", "sad"] and rows["speaker"] == ["anna", "bela"] and not rows.remarks


@pytest.mark.parametrize(
    ("files", "options", "told"),
    [
        (["train/clips/a.wav", "train/metadata.csv"], {}, r"train/metadata\.csv lists the recordings of one side"),
        (["happy/a.wav"], {"emotion": "angry"}, r"emotion=angry does not match happy/a\.wav"),
        (["a.wav"], {}, "is in no folder of a class; expected happy"),
        (["train/a.wav"], {}, "is in no folder of a class"),
        (["happy/a.txt"], {}, "no recording in"),
        (["happy/a.wav"], {"speaker": r"\d+"}, r"does not match happy/a\.wav"),
        (["happy/a.wav"], {"speaker": "("}, "is no regular expression"),
    ],
)
def test_what_is_no_such_layout_is_refused(folder, files, options, told):
    with pytest.raises(UserError, match=told):
        load_rows("folders", folder(*files), **options)
