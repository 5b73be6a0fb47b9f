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


@pytest.mark.parametrize(
    ("files", "options", "told"),
    [
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
