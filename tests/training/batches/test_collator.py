import numpy as np
import pytest
import torch

from ser_meta.configuration.errors import UserError
from ser_meta.modeling_ser_meta import SerMetaProcessor
from ser_meta.training.batches.augmentation import SpeedPerturbation
from ser_meta.training.batches.collator import SpeechCollator
from ser_meta.training.corpora import load_corpus
from ser_meta.training.planning.labels import check_labels

TASKS = {
    "emotion": {"kind": "classification", "labels": ["sad", "neutral", "angry"]},
    "gender": {"kind": "classification", "labels": ["female", "male"]},
    "intensity": {"kind": "classification", "labels": ["normal", "strong"]},
    "transcript": {"kind": "ctc"},
}


@pytest.fixture(scope="module")
def processor(encoder_folder):
    return SerMetaProcessor.from_backbone_pretrained(str(encoder_folder))


@pytest.fixture
def recording(tmp_path):
    def make(samples: int) -> dict:
        import soundfile

        path = tmp_path / f"{samples}.wav"
        soundfile.write(path, np.full(samples, 0.25), 16_000)
        return {"path": str(path), "bytes": None}

    return make


def test_a_batch_is_what_the_model_takes(processor, recording):
    rows = [
        {"audio": recording(5_000), "utterance_id": "a", "emotion": "angry", "gender": None, "transcript": "Oh, no!"},
        {"audio": recording(8_000), "utterance_id": "b", "emotion": None, "gender": "male", "transcript": None},
        {"audio": recording(400), "utterance_id": "c", "emotion": "sad", "gender": "female", "transcript": "[NOISE]"},
    ]
    batch = SpeechCollator(processor, TASKS)(rows)
    assert set(batch) == {"input_values", "attention_mask", "labels"}
    assert batch["input_values"].shape == (3, 8_000) and batch["input_values"].dtype == torch.float32
    assert batch["attention_mask"].sum(dim=1).tolist() == [5_000, 8_000, 400]
    assert batch["input_values"][0, :5_000].eq(0.25).all() and batch["input_values"][0, 5_000:].eq(0).all()

    labels = batch["labels"]
    assert list(labels) == list(TASKS)
    assert labels["emotion"].tolist() == [2, -100, 0]
    assert labels["gender"].tolist() == [-100, 1, 0]
    assert labels["intensity"].tolist() == [-100, -100, -100]  # the corpus does not know it
    characters = processor.tokenizer.get_vocab()
    assert labels["transcript"].tolist() == [[characters[c] for c in "OH|NO"], [-100] * 5, [-100] * 5]


def test_speed_is_perturbed_until_it_is_taken_away(processor, recording):
    rows = [{"audio": recording(8_000), "utterance_id": "a"}]
    collator = SpeechCollator(processor, TASKS, SpeedPerturbation([0.8], seed=1))
    assert collator(rows)["input_values"].shape == (1, 10_000)
    assert collator.without_speed()(rows)["input_values"].shape == (1, 8_000)


def test_a_label_outside_the_task_is_refused_by_name(speech_table):
    dataset = load_corpus("table", speech_table)
    tasks = {"emotion": {"kind": "classification", "labels": ["angry", "sad"]}}
    with pytest.raises(UserError, match=r"anna-neutral-improvised\.wav.*emotion 'neutral'.*angry, sad"):
        check_labels(dataset, tasks)
    check_labels(dataset, {"emotion": {"kind": "classification", "labels": ["angry", "neutral", "sad"]}})


def test_a_speaker_whom_training_never_met_is_no_mistake(speech_table, processor):
    dataset = load_corpus("table", speech_table)
    tasks = {"speaker": {"kind": "classification", "labels": ["anna"]}}
    check_labels(dataset, tasks)
    rows = [dataset[0], dataset[len(dataset) - 1]]
    assert SpeechCollator(processor, tasks)(rows)["labels"]["speaker"].tolist() == [0, -100]
