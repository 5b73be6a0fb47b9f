import numpy as np
import pytest
import torch

from ser_meta.modeling_ser_meta import SerMetaProcessor
from ser_meta.training.batches.collator import SpeechCollator
from ser_meta.training.batches.micro_batches import BoundedBatches, PaddedBound, joined, micro_batches
from ser_meta.training.corpora import load_corpus

LENGTHS = (0.5 + 10 * np.random.default_rng(0).random(200)).tolist()


def test_no_micro_batch_is_beyond_the_bound_and_none_is_cut_too_early():
    bound = PaddedBound(40.0, crossover=8.0)
    for start in range(0, 200, 16):
        batch = LENGTHS[start : start + 16]
        parts = bound.parts(batch)
        assert [row for part in parts for row in range(16)[part]] == list(range(len(batch)))
        for part in parts:
            count = bound.count(max(batch[part]), len(batch[part]))
            assert count <= 40 or len(batch[part]) == 1
            if part.stop < len(batch):
                longer = batch[part.start : part.stop + 1]
                assert bound.count(max(longer), len(longer)) > 40
    assert bound.count(bound.longest()) == pytest.approx(40)
    assert PaddedBound(40.0).longest() == 40


def test_an_outlier_is_alone_and_ordinary_batches_are_whole():
    bound = PaddedBound.usual([*LENGTHS, 270.0], utterances=4)
    assert all(bound.parts(LENGTHS[start : start + 4]) == [slice(0, 4)] for start in range(0, 200, 4))
    assert bound.parts([2.0, 3.0, 270.0, 1.0]) == [slice(0, 2), slice(2, 3), slice(3, 4)]
    # a batch of four that last as long as most: a third of what is allowed
    assert bound.most == pytest.approx(4 * 3 * np.quantile([*LENGTHS, 270.0], 0.9))


def test_micro_batches_are_the_batch_in_parts(speech_table, encoder_folder):
    processor = SerMetaProcessor.from_backbone_pretrained(str(encoder_folder))
    tasks = {
        "emotion": {"kind": "classification", "labels": ["angry", "neutral", "sad"]},
        "transcript": {"kind": "ctc"},
    }
    collator = SpeechCollator(processor, tasks)
    dataset = load_corpus("table", speech_table)
    rows = [dataset[row] for row in range(5)]
    whole = BoundedBatches(collator, PaddedBound(100.0))(rows)
    assert set(whole) == {"input_values", "attention_mask", "labels", "utterance_ids"}
    (alone,) = micro_batches(whole)
    assert alone["input_values"] is whole["input_values"]

    parts = list(micro_batches(BoundedBatches(collator, PaddedBound(0.1))(rows)))
    assert [part["utterance_ids"] for part in parts] == [[row["utterance_id"]] for row in rows]
    for number, part in enumerate(parts):
        samples = int(whole["attention_mask"][number].sum())
        assert torch.equal(part["input_values"][0], whole["input_values"][number, :samples])
        for name in tasks:
            assert torch.equal(part["labels"][name][0], whole["labels"][name][number])


def test_what_was_found_of_parts_is_joined_in_their_order():
    parts = [
        ({"ctc": torch.tensor([[1, 2, 3]])}, torch.tensor([0.5])),
        ({"ctc": torch.tensor([[4]])}, torch.tensor([1.5])),
    ]
    characters, losses = joined(parts)
    assert characters["ctc"].tolist() == [[1, 2, 3], [4, -100, -100]] and losses.tolist() == [0.5, 1.5]
    assert joined(parts[:1]) is parts[0]
