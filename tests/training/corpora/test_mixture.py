import csv

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe import CorpusRecipe
from ser_meta.training.corpora.mapping import map_labels
from ser_meta.training.corpora.mixture import load_corpora, scale_ratings
from ser_meta.training.corpora.rows import gather
from ser_meta.training.planning.folds import assign_folds
from ser_meta.training.planning.sides import split

EAST = [
    {"audio": "1.wav", "emotion": "joy", "speaker": "01", "session": "a", "gender": "female", "valence": "4.5"},
    {"audio": "2.wav", "emotion": "fury", "speaker": "01", "session": "a", "gender": "unclear"},
    {"audio": "3.wav", "emotion": "joy", "speaker": "02", "session": "b", "gender": "male", "valence": "3"},
    {"audio": "4.wav", "emotion": "bored", "speaker": "02", "session": "b", "gender": "male"},
    {"audio": "5.wav", "gender": "male"},
]
WEST = [
    {"audio": "1.wav", "emotion": "happy", "speaker": "01", "mood": "light"},
    {"audio": "2.wav", "emotion": "angry", "speaker": "03", "mood": "dark"},
]
SHARED = {"emotion": {"joy": "happy", "fury": "angry", "bored": None}, "gender": {"unclear": None}}


@pytest.fixture
def corpora(tmp_path) -> list[CorpusRecipe]:
    """Two tables in which recordings and speakers have the same names."""
    sources = []
    for name, rows in (("east", EAST), ("west", WEST)):
        folder = tmp_path / name
        folder.mkdir()
        names = dict.fromkeys(key for row in rows for key in row)
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(names))
            writer.writeheader()
            writer.writerows(rows)
        for row in rows:
            (folder / row["audio"]).touch()
        sources.append(CorpusRecipe("table", str(folder / f"{name}.csv")))
    sources[0].label_map = SHARED
    sources[1].options = {"columns": {"mood": "mood"}}
    return sources


def column(dataset, name: str) -> list:
    return list(dataset[name])


def test_labels_are_merged_dropped_and_made_missing(corpora):
    dataset = load_corpora(corpora[:1])
    assert column(dataset, "utterance_id") == ["1.wav", "2.wav", "3.wav", "5.wav"]  # the bored one has left
    assert column(dataset, "emotion") == ["happy", "angry", "happy", None]  # who has no label at all stays
    assert column(dataset, "gender") == ["female", None, "male", "male"]
    assert column(dataset, "valence") == [4.5, None, 3.0, None]
    assert [path.rsplit("/", 1)[1] for path in dataset["audio"]] == ["1.wav", "2.wav", "3.wav", "5.wav"]
    assert "corpus" not in dataset.column_names


def test_only_the_targets_null_drops_an_utterance(corpora):
    assert len(load_corpora(corpora[:1], target="gender")) == 4
    assert column(load_corpora(corpora[:1], target="gender"), "emotion") == ["happy", "happy", None, None]


def test_a_map_of_a_label_that_the_corpus_lacks_is_refused(corpora):
    for label, hint in (("furry", "did you mean fury?"), ("zzz", "it has bored, fury, joy")):
        corpora[0].label_map = {"emotion": {label: "angry"}}
        with pytest.raises(UserError, match=rf"^east: .*emotion '{label}', which the corpus does not have: {hint}"):
            load_corpora(corpora)


@pytest.mark.parametrize("task", ["valence", "mood"])
def test_a_map_of_what_is_no_column_of_labels_is_refused(corpora, task):
    corpora[0].label_map = {task: {"4.5": "4"}}
    with pytest.raises(UserError, match=rf"cannot map {task}: columns of labels are .*emotion"):
        load_corpora(corpora[:1])


def test_a_map_that_drops_everything_is_refused(corpora):
    dataset = load_corpora(corpora[1:])
    with pytest.raises(UserError, match="west: label_map drops every utterance"):
        map_labels(dataset, {"emotion": {"happy": None, "angry": None}}, "emotion", "west")


def test_several_corpora_keep_their_names_and_their_missing_values_apart(corpora):
    dataset = load_corpora(corpora)
    assert column(dataset, "corpus") == ["east"] * 4 + ["west"] * 2
    assert column(dataset, "utterance_id")[::4] == ["east:1.wav", "west:1.wav"]
    speakers = ["east:01", "east:01", "east:02", None, "west:01", "west:03"]
    assert column(dataset, "speaker") == speakers
    assert column(dataset, "session")[2:5] == ["east:b", None, None]
    assert column(dataset, "emotion") == ["happy", "angry", "happy", None, "happy", "angry"]
    assert column(dataset, "valence") == [4.5, None, 3.0, None, None, None]
    assert column(dataset, "mood") == [None] * 4 + ["light", "dark"]
    assert [path.rsplit("/", 2)[1] for path in dataset["audio"]] == column(dataset, "corpus")


def test_one_corpus_is_left_out_and_speakers_are_folds_still(corpora):
    dataset = load_corpora(corpora)
    folds = assign_folds(dataset, by="corpus")
    assert folds.of_rows == column(dataset, "corpus")
    assert split(dataset, folds, "west") == {"train": [0, 1, 2, 3], "validation": [], "test": [4, 5]}
    known = dataset.select([0, 1, 2, 4, 5])
    assert assign_folds(known).of_rows == ["east:01", "east:01", "east:02", "west:01", "west:03"]
    with pytest.raises(UserError, match=r"folds by corpus need several: list them in data\.corpora"):
        assign_folds(load_corpora(corpora[:1]), by="corpus")


def test_a_speaker_of_two_tables_is_told(corpora):
    assert load_corpora(corpora).remarks["speakers of one name"] == {"east and west": "01"}


def test_a_corpus_without_a_root_is_refused(corpora):
    corpora[1].root = None
    with pytest.raises(
        UserError, match=r"the corpus table has no root: give its folder or table as data\.root=FOLDER"
    ):
        load_corpora(corpora[1:])
    with pytest.raises(UserError, match=r"as root in its entry of data\.corpora"):
        load_corpora(corpora)


@pytest.mark.parametrize(("votes", "several"), [("majority", ()), ("shares", ()), ("majority", ["emotion"])])
def test_who_was_outvoted_has_not_won_where_the_majority_is_left_out(tmp_path, votes, several):
    cells = ["sad;sad;sad;angry;angry", "angry;sad;calm;calm", "sad;sad;angry;angry", "sad"]
    lines = [f"{row}.wav,{cell}" for row, cell in enumerate(cells)]
    (tmp_path / "rated.csv").write_text("\n".join(["audio,emotion", *lines]))
    source = CorpusRecipe("table", str(tmp_path / "rated.csv"), label_map={"emotion": {"sad": None, "calm": "quiet"}})
    rows = load_corpora([source], votes=votes, several=several, require=False)
    if votes == "majority" and not several:
        assert rows["utterance_id"] == ["1.wav", "2.wav"] and rows["emotion"] == ["quiet", None]  # the second is a tie
    else:
        assert rows["utterance_id"] == ["0.wav", "1.wav", "2.wav"] and rows["emotion:quiet"] == [0, 2, 0]


def test_two_corpora_of_one_name_are_refused(corpora):
    with pytest.raises(UserError, match=r"data\.corpora has west twice"):
        load_corpora([*corpora, corpora[1]])


def test_ratings_come_to_the_tasks_scale_from_the_one_that_the_corpus_states():
    rows = [{"audio": "a.wav", "utterance_id": str(value), "valence": value} for value in (1.0, 3.0, 5.0, 5.5, None)]
    dataset = gather(rows)
    ranges = {"valence": [1, 7], "arousal": [1, 7]}
    assert column(scale_ratings(dataset, "iemocap", ranges), "valence") == [1.0, 4.0, 7.0, 7.75, None]
    for corpus, scales in (("iemocap", {"valence": [1, 5]}), ("msp_podcast", ranges), ("table", ranges)):
        assert scale_ratings(dataset, corpus, scales) is dataset
