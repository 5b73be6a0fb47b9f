import pytest
import yaml

from ser_meta.configuration.recipe_files import load_recipe, read_settings, save_recipe
from ser_meta.configuration.written import Text, read

WORDS = ["05", "0011", "1", "1_000", "1e3", "0x1F", "1:30", "1.0", "on", "no", "Yes", "true", "2026-11-28", ".inf"]
NULLS = ["null", "~"]
RECIPE = """
data:
  corpus: table
  label_map: {emotion: {no: calm, 0011: on, other: null}}
  options: {missing: [01, 99]}
model:
  encoder: some/encoder
  labels: {emotion: [no, yes, 05]}
stages:
  emotion: {loss_weights: {emotion: 1}, epochs: 010, encoder_learning_rate: 1e-4, head_learning_rate: 1e-3}
"""


@pytest.mark.parametrize("word", WORDS)
def test_text_is_what_was_written(word):
    assert read(word, Text) == read(word, str) == read(f"'{word}'", Text) == read(f'"{word}"', str) == word
    assert read(f"[{word}]", list[str]) == [word]
    assert read(f"{{a: {{{word}: x}}}}", dict[str, dict[str, str | None]]) == {"a": {word: "x"}}


@pytest.mark.parametrize("word", NULLS)
def test_null_is_text_only_where_all_is(word):
    assert read(word, Text) == word
    assert read(word, str | None) is None and read(f"'{word}'", str | None) == word
    assert read(word, int) is None and read("", Text) is None


def test_numbers_are_read_in_tens():
    assert read("[0011, 1_000, 7]", list[int]) == [11, 1000, 7]
    assert read("{a: 1e-4, b: .5, c: 2}", dict[str, float]) == {"a": 1e-4, "b": 0.5, "c": 2.0}


def test_what_has_no_type_is_as_yaml_reads_it_but_for_codes():
    assert read("{a: 11, b: no, c: 1e-4, d: 2026-11-28, 3: ~, e: -9}") == {
        "a": 11,
        "b": False,
        "c": 1e-4,
        "d": "2026-11-28",
        3: None,
        "e": -9,
    }
    assert read("{01: [0011, 1_000, 0x1F]}") == {"01": ["0011", "1_000", "0x1F"]}


@pytest.mark.parametrize("text", ["{a: 1, a: 2}", "[&x 1, *x]", "!!set {a}", "{[a]: 1}", "[" * 21 + "]" * 21, "[1"])
def test_what_is_no_plain_yaml_is_refused(text):
    with pytest.raises(yaml.YAMLError):
        read(text, Text)


def test_labels_of_a_recipe_stay_words(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE, encoding="utf-8-sig")
    recipe = load_recipe(str(path))
    assert recipe.data.label_map == {"emotion": {"no": "calm", "0011": "on", "other": None}}
    assert recipe.model.labels == {"emotion": ["no", "yes", "05"]} and recipe.data.options == {"missing": ["01", 99]}
    assert recipe.stages["emotion"].epochs == 10
    save_recipe(recipe, tmp_path / "saved.yaml")
    assert load_recipe(str(tmp_path / "saved.yaml")) == recipe
    changed = load_recipe(
        str(path), ["data.label_map.emotion.yes=off", "model.labels={emotion: [on, off]}", "data.group_size=010"]
    )
    assert changed.data.label_map["emotion"] == {"no": "calm", "0011": "on", "other": None, "yes": "off"}
    assert changed.model.labels == {"emotion": ["on", "off"]} and changed.data.group_size == 10


def test_settings_of_one_mapping_are_taken_together():
    assert read_settings(["columns.audio=path", "columns.emotion=label", "song=false"]) == {
        "columns": {"audio": "path", "emotion": "label"},
        "song": False,
    }
