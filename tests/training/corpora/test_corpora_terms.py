import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.hub_cards.card.corpus_facts import SPEECH
from ser_meta.training.corpora import corpus_module, load_corpus

NAMES = ["cremad", "emodb", "tess", "savee", "esd", "meld", "msp_podcast", "emovo", "jl_corpus", "emov_db"]
SHARED_EMOTIONS = {"neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised"}
FURTHER_EMOTIONS = {"amused", "anxious", "apologetic", "assertive", "bored", "concerned", "contempt"} | {
    "encouraging", "excited", "other", "sleepy",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_something_else_says_what_it_should_hold(name, tmp_path):
    with pytest.raises(UserError, match=rf"{name}: no such folder: .*absent; expected one that holds \S+"):
        load_corpus(name, tmp_path / "absent")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=rf"{name}: .*expected \S+"):
        load_corpus(name, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_corpus_states_its_terms_and_source(name):
    module = corpus_module(name)
    assert (
        module.LICENSE and module.CITATION.startswith("@") and module.CITATION.count("{") == module.CITATION.count("}")
    )
    languages = module.LANGUAGES if name == "esd" else [module.LANGUAGE]
    assert {len(language) for language in languages} == {2}
    assert module.SPEECH in SPEECH
    assert len(set(module.EMOTIONS)) == len(module.EMOTIONS)
    assert set(module.EMOTIONS) <= SHARED_EMOTIONS | FURTHER_EMOTIONS
