import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.training.corpora import load_rows
from ser_meta.training.corpora.rows import Rows, gather
from ser_meta.training.corpora.values import holds_several, plain, plain_name, spelling_remarks, spellings


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Happy", "happy", True),
        ("very happy", "Very_Happy", True),
        ("very happy", "veryhappy", True),
        ("fâché", "fache", True),
        ("Fröhlich", "frohlich", True),
        ("straße", "STRASSE", True),
        ("1-1", "11", False),
        ("S 01", "s_01", True),
        ("01", "1", False),
        ("happy", "happily", False),
        ("怒り", "怒", False),
        ("?", "-", False),
    ],
)
def test_two_spellings_of_a_label(one, other, same):
    assert (plain(one) == plain(other)) == same


@pytest.mark.parametrize(("one", "other", "same"), [("01", "1.0", True), ("Anna", "anna", True), ("S10", "S1", False)])
def test_one_person_in_two_spellings(one, other, same):
    rows = Rows(["a.wav", "b.wav"], {"utterance_id": ["a", "b"], "speaker": [one, other]})
    assert (plain_name(one) == plain_name(other)) == same == bool(spelling_remarks(rows, ["speaker"]))


def test_spellings_are_counted_and_the_usual_one_is_taken_on_request(tmp_path):
    labels = ["Happy", "happy", "happy", "SAD", "sad", "angry", ""]
    lines = "".join(f"{row}.wav,{label},spk\n" for row, label in enumerate(labels))
    (tmp_path / "my.csv").write_text(f"audio,emotion,speaker\n{lines}")
    rows = load_rows("table", tmp_path / "my.csv")
    assert spellings(rows["emotion"]) == [{"happy": 2, "Happy": 1}, {"SAD": 1, "sad": 1}]
    merged = load_rows("table", tmp_path / "my.csv", same_spelling=True)
    assert merged["emotion"] == ["happy"] * 3 + ["SAD"] * 2 + ["angry", None]
    assert merged["utterance_id"] == rows["utterance_id"] and merged["speaker"] == rows["speaker"]


@pytest.mark.parametrize(
    ("label", "what"),
    [
        ("['angry', 'happy']", "a list"),
        ("(angry, happy)", "a list"),
        ("{'angry': 0.6}", "a mapping"),
        ("0.25", "a share or a rating"),
        ("1", None),
        ("0011", None),
        ("2.0", None),
        ("inf", None),
        ("angry/happy", None),
        ("[laughs", None),
    ],
)
def test_a_cell_that_holds_more_or_less_than_one_label(label, what):
    assert holds_several(label) == what


def test_rows_are_chosen_changed_and_joined_without_a_data_set():
    one = gather([{"audio": f"{name}.wav", "utterance_id": name, "age": 7, "mood": name} for name in "abc"])
    part = one.select([2, 0])
    assert (part["utterance_id"], part["audio"], part["mood"]) == (["c", "a"], ["c.wav", "a.wav"], ["c", "a"])
    changed = part.with_columns({"mood": [None, "x"], "style": ["song", None]})
    assert changed.dataset().to_list()[0] == part.dataset().to_list()[0] | {"mood": None, "style": "song"}
    assert part["mood"] == ["c", "a"] and one.column_names == part.column_names == [*changed.column_names]


@pytest.mark.parametrize("value", [2**63, "\ud800"])
def test_a_value_that_no_column_holds_is_refused(value):
    with pytest.raises(UserError, match="does not fit its column"):
        gather([{"audio": "a.wav", "utterance_id": "a", "age" if isinstance(value, int) else "emotion": value}])
