"""What holds for any corpus: Hypothesis looks for one for which it does not."""

import io
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch
from datasets import Dataset
from hypothesis import assume, given
from hypothesis import strategies as st
from properties import cheap, moderate

from ser_meta.configuration.errors import UserError
from ser_meta.modeling_ser_meta import SerMetaProcessor
from ser_meta.modeling_ser_meta.processing_ser_meta import normalize_transcript
from ser_meta.training.batches.augmentation import SpeedPerturbation
from ser_meta.training.batches.collator import SpeechCollator
from ser_meta.training.corpora.mapping import map_labels
from ser_meta.training.corpora.rows import Rows, gather
from ser_meta.training.corpora.values import plain
from ser_meta.training.planning.folds import assign_folds
from ser_meta.training.planning.sides import split

EMOTIONS = ("angry", "happy", "neutral", "sad")
TASKS = {
    "emotion": {"kind": "classification", "labels": ["sad", "neutral", "angry", "happy"]},
    "valence": {"kind": "regression", "range": [1.0, 5.0]},
    "transcript": {"kind": "ctc"},
}


@st.composite
def corpora(draw) -> Dataset:
    """Two to six speakers, in sessions of two, with one to five utterances each, in any order."""
    speakers = draw(st.integers(2, 6))
    gender = draw(st.lists(st.sampled_from(["female", "male", None]), min_size=speakers, max_size=speakers))
    owners = [s for s in range(speakers) for _ in range(draw(st.integers(1, 5)))]
    owners = draw(st.permutations(owners))
    return Dataset.from_dict(
        {
            "utterance_id": [str(row) for row in range(len(owners))],
            "emotion": draw(st.lists(st.sampled_from(EMOTIONS), min_size=len(owners), max_size=len(owners))),
            "speaker": [f"s{owner}" for owner in owners],
            "session": [f"session {owner // 2}" for owner in owners],
            "gender": [gender[owner] for owner in owners],
        }
    )


@moderate
@given(corpora(), st.sampled_from(["speaker", "session"]), st.integers(1, 3))
def test_every_utterance_is_tested_once_and_no_speaker_is_on_two_sides(corpus, by, group_size):
    folds = assign_folds(corpus, by, group_size)
    names, owners = folds.names, len(set(corpus[by]))
    assert len(names) == -(-owners // group_size)
    assume(len(names) > 1)
    speakers = corpus["speaker"]
    tested = Counter()
    for name in names:
        sides = split(corpus, folds, name)
        assert sides["test"] == [row for row, fold in enumerate(folds.of_rows) if fold == name]
        assert sorted(sides["train"] + sides["test"]) == list(range(len(corpus))) and not sides["validation"]
        assert not {speakers[row] for row in sides["train"]} & {speakers[row] for row in sides["test"]}
        tested.update(sides["test"])
    assert tested == Counter(range(len(corpus)))


@moderate
@given(corpora(), st.sampled_from(["random", "speaker", "session"]), st.floats(0.1, 0.6), st.integers(0, 99))
def test_a_validation_side_is_of_its_size_and_shares_nobody(corpus, validation, fraction, seed):
    folds = assign_folds(corpus)
    try:
        sides = split(corpus, folds, "s0", validation, seed, fraction)
    except UserError:
        assume(False)
    assert sides == split(corpus, folds, "s0", validation, seed, fraction)
    assert sorted(sides["train"] + sides["validation"] + sides["test"]) == list(range(len(corpus)))
    heard = {side: {corpus["speaker"][row] for row in rows} for side, rows in sides.items()}
    assert not heard["test"] & (heard["train"] | heard["validation"])
    learned = len(heard["train"] | heard["validation"])
    if validation == "speaker":
        assert not heard["train"] & heard["validation"]
        assert len(heard["validation"]) == max(1, round(fraction * learned))
    elif validation == "session":
        assert len({corpus["session"][row] for row in sides["validation"]}) == 1
        assert not {corpus["session"][row] for row in sides["validation"]} & {
            corpus["session"][row] for row in sides["test"]
        }
    else:
        trained = Counter(corpus["emotion"][row] for row in sides["train"])
        held = Counter(corpus["emotion"][row] for row in sides["validation"])
        for emotion, count in (trained + held).items():
            assert held[emotion] == min(round(fraction * count), count - 1)


def labelled(emotions: list[str | None]) -> Rows:
    return gather(
        [{"audio": f"{row}.wav", "utterance_id": str(row), "emotion": name} for row, name in enumerate(emotions)]
    )


@moderate
@given(
    st.lists(st.sampled_from([*EMOTIONS, None]), min_size=1, max_size=12),
    st.dictionaries(st.sampled_from(EMOTIONS), st.sampled_from(["positive", "negative", *EMOTIONS, None])),
)
def test_a_label_map_renames_merges_and_drops(emotions, names):
    names = {theirs: shared for theirs, shared in names.items() if theirs in emotions}
    expected = [(str(row), names.get(name, name)) for row, name in enumerate(emotions)]
    expected = [pair for pair, name in zip(expected, emotions, strict=True) if name not in names or names[name]]
    if not expected:
        with pytest.raises(UserError, match="label_map drops every utterance"):
            map_labels(labelled(emotions), {"emotion": names}, "emotion", "corpus")
        return
    mapped = map_labels(labelled(emotions), {"emotion": names}, "emotion", "corpus")
    assert list(zip(mapped["utterance_id"], mapped["emotion"], strict=True)) == expected
    settled = {name: name for name in set(mapped["emotion"]) - {None}}
    again = map_labels(mapped, {"emotion": settled}, "emotion", "corpus")
    assert again.dataset().to_list() == mapped.dataset().to_list()


@moderate
@given(st.lists(st.sampled_from(EMOTIONS), min_size=1, max_size=5), st.text(min_size=1, max_size=9))
def test_a_label_that_the_corpus_lacks_is_refused_in_one_line(emotions, label):
    assume("*" not in label and plain(label) not in map(plain, emotions))
    with pytest.raises(UserError, match="which the corpus does not have") as refused:
        map_labels(labelled(emotions), {"emotion": {label: "other"}}, "emotion", "corpus")
    assert len(str(refused.value).splitlines()) == 1


@pytest.fixture(scope="module")
def processor(encoder_folder):
    return SerMetaProcessor.from_backbone_pretrained(str(encoder_folder))


def recording(samples: int) -> dict:
    content = io.BytesIO()
    soundfile.write(content, np.full(samples, 0.25), 16_000, format="WAV")
    return {"path": None, "bytes": content.getvalue()}


ROWS = st.fixed_dictionaries(
    {"samples": st.integers(400, 3_000)},
    optional={
        "emotion": st.sampled_from([*EMOTIONS, "unheard of", None]),
        "valence": st.floats(1, 5) | st.none(),
        "transcript": st.text("abc' .[]é", max_size=8) | st.none(),
    },
)


@moderate
@given(st.lists(ROWS, min_size=1, max_size=4))
def test_a_batch_is_its_rows(processor, rows):
    given_rows = [{**row, "audio": recording(row["samples"]), "utterance_id": str(i)} for i, row in enumerate(rows)]
    batch = SpeechCollator(processor, TASKS)(given_rows)
    longest = max(row["samples"] for row in rows)
    assert batch["input_values"].shape == (len(rows), longest)
    characters = processor.tokenizer.get_vocab()
    for place, row in enumerate(rows):
        n = row["samples"]
        assert batch["attention_mask"][place].tolist() == [1] * n + [0] * (longest - n)
        assert batch["input_values"][place, :n].eq(0.25).all() and not batch["input_values"][place, n:].any()
        emotion, valence = row.get("emotion"), row.get("valence")
        known = emotion in EMOTIONS
        assert batch["labels"]["emotion"][place] == (TASKS["emotion"]["labels"].index(emotion) if known else -100)
        number = batch["labels"]["valence"][place]
        assert number.isnan() if valence is None else number == torch.tensor(valence, dtype=torch.float32)
        text = normalize_transcript(row.get("transcript") or "").replace(" ", "|")
        ids = [characters[c] for c in text if c in characters]
        found = batch["labels"]["transcript"][place].tolist()
        assert found == ids + [-100] * (len(found) - len(ids))


@cheap
@given(st.integers(1, 5_000), st.floats(0.5, 2.0), st.integers(0, 9))
def test_a_speed_makes_an_utterance_as_much_longer(samples, factor, epoch):
    speed = SpeedPerturbation([factor], seed=1, shortest=400)
    speed.set_epoch(epoch)
    heard = speed(np.zeros(samples, dtype=np.float32), "utterance")
    assert abs(len(heard) - (samples if samples / factor < 400 else samples / factor)) <= 1
