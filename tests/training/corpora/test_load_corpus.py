import subprocess
import sys

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.training.corpora import CORPORA, corpus_module, load_corpus
from ser_meta.training.corpora.rows import METADATA, gather


def test_unknown_corpus_lists_the_names():
    with pytest.raises(
        UserError, match=r"unknown corpus 'ravdes': choose one of ravdess, nemo, iemocap, table, espeak"
    ):
        load_corpus("ravdes", ".")


def test_unknown_option_lists_the_options(tmp_path):
    with pytest.raises(UserError, match=r"unknown option 'chanels' for the corpus 'ravdess': choose among channels"):
        load_corpus("ravdess", tmp_path, chanels=["speech"])
    with pytest.raises(UserError, match=r"unknown option 'split' for the corpus 'nemo': choose among channel"):
        load_corpus("nemo", tmp_path, split="train")


@pytest.mark.parametrize("name", ["ravdess", "nemo", "iemocap"])
def test_absent_folder_is_named_with_the_layout(name, tmp_path):
    absent = tmp_path / "absent"
    with pytest.raises(UserError, match=rf"{name}: no such folder: {absent}; expected one that holds \S+"):
        load_corpus(name, absent)


@pytest.mark.parametrize("name", ["ravdess", "nemo", "iemocap"])
def test_empty_folder_says_what_it_should_hold(name, tmp_path):
    with pytest.raises(UserError, match=r"expected"):
        load_corpus(name, tmp_path)


@pytest.mark.parametrize("name", ["ravdess", "nemo", "iemocap"])
def test_corpus_states_its_terms_and_source(name):
    module = corpus_module(name)
    assert module.LICENSE and module.CITATION.startswith("@")
    assert len(module.LANGUAGE) == 2 and len(set(module.EMOTIONS)) == len(module.EMOTIONS)


def test_every_named_corpus_has_a_loader():
    assert all(callable(corpus_module(name).load) for name in CORPORA)


def test_missing_metadata_is_null_and_keeps_its_type():
    dataset = gather([{"audio": "a.wav", "utterance_id": "a"}, {"audio": "b.wav", "utterance_id": "b"}]).dataset()
    assert dataset[1]["audio"] == {"bytes": None, "path": "b.wav"}
    types = {name: feature.dtype for name, feature in dataset.features.items() if name != "audio"}
    assert types == METADATA
    assert all(dataset[0][name] is None for name in METADATA if name != "utterance_id")


def test_an_id_is_present_and_unique():
    with pytest.raises(UserError, match=r"'a' occurs twice"):
        gather([{"audio": "a.wav", "utterance_id": "a"}, {"audio": "b.wav", "utterance_id": "a"}])
    with pytest.raises(UserError, match=r"row 0 has no utterance_id"):
        gather([{"audio": "a.wav", "utterance_id": None}])


def test_naming_the_corpora_imports_nothing_heavy():
    program = "import sys, ser_meta.training.corpora; print({'datasets', 'torch', 'pandas'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "set()"
