"""Damaged JSON, CSV and YAML: each is read, or refused by one line of ours."""

import pytest
from campaign import run_campaign
from guarded import Guarded
from mutated_text import text_mutants

ERRORS = ["ser_meta.configuration.errors:UserError"]
MEMORY = 512 * 2**20  # pandas and pyarrow set some aside for themselves
SEED = 6


@pytest.fixture(scope="module")
def reader():
    with Guarded("text_readers", "read_text", ERRORS, None, MEMORY) as guarded:
        yield guarded


def damaged(count: int, seed: int):
    """Each loader's name, and its file in `count` damaged forms."""
    from text_readers import LOADERS

    for kind, loader in LOADERS.items():
        mutants = text_mutants(loader.original.encode(), count, f"{seed} {kind}")
        yield kind, ((label, (kind, content)) for label, content in mutants)


def test_some_damaged_texts(reader):
    tallies = [run_campaign(reader, kind, mutants) for kind, mutants in damaged(8, SEED)]
    assert sum(tally["result"] for tally in tallies) > 20 and sum(tally["refused"] for tally in tallies) > 50


@pytest.mark.campaign
def test_damaged_texts(reader):
    tallies = [run_campaign(reader, kind, mutants) for kind, mutants in damaged(300, SEED + 1)]
    assert all(tally["result"] for tally in tallies)


@pytest.mark.campaign
def test_damaged_model_folders():
    from model_readers import originals

    with Guarded("model_readers", "load_damaged", ERRORS, None, 2 * MEMORY) as reader:
        for name, content in originals().items():
            mutants = text_mutants(content, 60, f"{SEED} {name}")
            tally = run_campaign(reader, f"a model's {name}", ((label, (name, mutant)) for label, mutant in mutants))
            assert tally["refused"]
