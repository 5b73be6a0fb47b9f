"""From recordings and transcripts to batches, and back to text."""

import unicodedata

import numpy as np
import pytest
import torch
from transformers import (
    AutoProcessor,
    ParakeetFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

from ser_meta.modeling_ser_meta import SerMetaProcessor
from ser_meta.modeling_ser_meta.audio_ser_meta import trim_silence
from ser_meta.modeling_ser_meta.features_ser_meta import input_lengths
from ser_meta.modeling_ser_meta.frames_ser_meta import FrameRule
from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer, normalize_transcript

POLISH = "Zażółć gęślą jaźń!"
EXTRACTORS = {
    "raw": lambda: Wav2Vec2FeatureExtractor(do_normalize=False),
    "normalised": lambda: Wav2Vec2FeatureExtractor(do_normalize=True),
    "whisper": lambda: WhisperFeatureExtractor(feature_size=80),
    "wav2vec2-bert": lambda: SeamlessM4TFeatureExtractor(padding_value=1.0),
}
try:
    ParakeetFeatureExtractor()
except ImportError:  # older releases take its mel filters from librosa
    NEEDS_LIBROSA = True
else:
    NEEDS_LIBROSA, EXTRACTORS["parakeet"] = False, ParakeetFeatureExtractor


@pytest.fixture(params=EXTRACTORS)
def processor(request) -> SerMetaProcessor:
    return SerMetaProcessor(EXTRACTORS[request.param](), character_tokenizer([POLISH]))


@pytest.fixture
def raw_processor() -> SerMetaProcessor:
    return SerMetaProcessor(EXTRACTORS["raw"](), character_tokenizer([POLISH]))


@pytest.fixture
def recordings(tone) -> list[np.ndarray]:
    return [tone(seconds) for seconds in (0.5, 0.025, 0.031, 0.7, 0.245)]


def test_a_batch_equals_its_recordings(processor, recordings):
    name = processor.model_input_names[0]
    batch = processor(recordings, sampling_rate=16_000)
    assert batch[name].dtype == torch.float32 and batch[name].isfinite().all()
    assert set(batch) == {name, "attention_mask"}
    for row, recording in enumerate(recordings):
        alone = processor(recording, sampling_rate=16_000)
        length = int(batch["attention_mask"][row].sum())
        assert length > 0 and alone["attention_mask"].shape == (1, length) and alone["attention_mask"].all()
        time = 1 if isinstance(processor.feature_extractor, WhisperFeatureExtractor) else 0
        assert torch.equal(batch[name][row].narrow(time, 0, length), alone[name][0])
        assert (
            batch[name][row].narrow(time, length, batch[name].shape[time + 1] - length)
            == processor.feature_extractor.padding_value
        ).all()


def test_lengths_are_known_beforehand(processor, tone):
    samples = [1, 320, 400, 560, 3_999, 8_000, 16_001]
    batch = processor([tone(count / 16_000) for count in samples], sampling_rate=16_000)
    lengths = input_lengths(processor.feature_extractor, torch.tensor(samples))
    assert batch["attention_mask"].sum(dim=1).tolist() == lengths.tolist()


@pytest.mark.skipif(NEEDS_LIBROSA, reason="this release takes Parakeet's mel filters from librosa")
def test_parakeets_features_are_the_stock_ones_that_it_counts_as_true(recordings):
    extractor = ParakeetFeatureExtractor()
    features = SerMetaProcessor(extractor, character_tokenizer())(recordings[0], sampling_rate=16_000)
    stock = extractor(recordings[0], sampling_rate=16_000, return_tensors="pt")
    true = stock["attention_mask"][0].bool()
    assert torch.equal(features["input_features"][0], stock["input_features"][0, true]) and not true.all()


def test_frames_that_follow_no_rate_are_refused():
    rule = FrameRule.measured(lambda inputs: (inputs - 17) // 320 + 1, 2_000)
    assert (rule.stride, rule.offset, rule.shortest) == (320, 303, 17)
    with pytest.raises(ValueError, match="are not those of one rate"):
        FrameRule.measured(lambda inputs: int(inputs**0.5), 2_000)
    with pytest.raises(ValueError, match="5 frames of 2000 inputs, and no more of 4000"):
        FrameRule.measured(lambda inputs: 5, 2_000)


def test_raw_samples_are_as_they_come(raw_processor, recordings):
    batch = raw_processor(recordings[0], sampling_rate=16_000)
    np.testing.assert_array_equal(batch["input_values"][0], recordings[0])


def test_whisper_features_are_those_of_thirty_seconds_cut(recordings):
    extractor = WhisperFeatureExtractor(feature_size=80)
    features = SerMetaProcessor(extractor, character_tokenizer())(recordings[0], sampling_rate=16_000)
    whole = extractor(recordings[0], sampling_rate=16_000, return_tensors="pt")["input_features"]
    frames = features["input_features"].shape[-1]
    assert frames == 50
    torch.testing.assert_close(features["input_features"], whole[..., :frames], rtol=0, atol=1e-4)


def test_a_wrong_or_missing_rate_names_both(processor, recordings):
    with pytest.raises(ValueError, match=r"the recordings have 8000 Hz, but the encoder needs 16000 Hz"):
        processor(recordings, sampling_rate=8_000)
    with pytest.raises(ValueError, match=r"no sampling rate was given, but the encoder needs 16000 Hz"):
        processor(recordings)


def test_one_recording_may_be_an_array_a_tensor_or_a_list(raw_processor, recordings):
    one = recordings[1]
    for given in (one, torch.from_numpy(one), one.tolist(), [one]):
        assert raw_processor(given, sampling_rate=16_000)["input_values"].shape == (1, 400)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello,   world!", "HELLO WORLD"),
        ("[LAUGHTER] oh {LG} no <sigh> (breathes)", "OH NO"),
        ("{NS}[BREATHING]", ""),
        ("it's, it\u2019s and it\u02bcs", "IT'S IT'S AND IT'S"),
        (POLISH, "ZAŻÓŁĆ GĘŚLĄ JAŹŃ"),
        (unicodedata.normalize("NFD", POLISH), "ZAŻÓŁĆ GĘŚLĄ JAŹŃ"),
        ("Straße 7, kids_2 go!", "STRASSE KIDS GO"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940 \u0938", "\u0939\u093f\u0928\u094d\u0926\u0940 \u0938"),
        ("well\u2014no\u2026 \u201cyes\u201d", "WELL NO YES"),
        ("", ""),
    ],
)
def test_normalize_transcript(text, expected):
    assert normalize_transcript(text) == expected
    assert normalize_transcript(expected) == expected


def test_vocabulary():
    vocabulary = character_tokenizer().get_vocab()
    assert len(vocabulary) == 30 and sorted(vocabulary.values()) == list(range(30))
    assert [vocabulary[token] for token in ("<pad>", "<unk>", "|", "'", "A", "Z")] == [0, 1, 2, 3, 4, 29]
    polish = character_tokenizer([POLISH, "dom"]).get_vocab()
    assert polish["Z"] == 29 and set(polish) - set(vocabulary) == set("ĄĆĘŁŃÓŚŹŻ")


@pytest.mark.parametrize("text", ["HELLO WORLD", "IT'S A ' B", "ZAŻÓŁĆ GĘŚLĄ JAŹŃ", "LLAMA'S AARDVARK", "A"])
def test_text_survives_the_way_there_and_back(text, raw_processor):
    labels = raw_processor.encode_transcripts([text, None])
    assert raw_processor.decode_transcripts(labels.tolist(), ctc=False) == [text, ""]
    # as CTC gives it: every character held for some frames, with a blank between equal ones
    frames = [i for character in labels[0].tolist() for i in (character, character, 0)]
    assert raw_processor.decode_transcripts([frames]) == [text]


def test_ctc_decoding_collapses(raw_processor):
    a, b = (raw_processor.tokenizer.get_vocab()[c] for c in "AB")
    rows = [[0, 0, a, a, 0, a, b, b, 2, 2, 0, b], [0, 0, 0], [], [a, -100, -100]]
    assert raw_processor.decode_transcripts(rows) == ["AAB B", "", "", "A"]


def test_labels_are_padded_with_missing(raw_processor, recordings):
    batch = raw_processor(recordings[:4], sampling_rate=16_000, text=["ab [LG]", None, "", "a \u4f60 c"])
    assert batch["labels"].dtype == torch.int64
    assert batch["labels"].tolist() == [
        [4, 5, -100, -100],
        [-100] * 4,
        [-100] * 4,
        [4, 2, 2, 6],  # a letter that the vocabulary lacks is left out
    ]
    assert raw_processor.encode_transcripts([None, None]).tolist() == [[-100], [-100]]


def test_a_lone_transcript_is_that_of_the_recording(raw_processor, recordings):
    one, listed = (raw_processor(recordings[0], 16_000, text)["labels"] for text in ("hello", ["hello"]))
    assert one.shape == (1, 5) and torch.equal(one, listed)
    with pytest.raises(ValueError, match="2 transcripts for 1 recordings"):
        raw_processor(recordings[0], 16_000, ["hello", "world"])


def test_save_and_load(processor, recordings, tmp_path):
    processor.save_pretrained(tmp_path)
    for loaded in (SerMetaProcessor.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)):
        assert type(loaded) is SerMetaProcessor
        assert loaded.tokenizer.get_vocab() == processor.tokenizer.get_vocab()
        assert loaded.feature_extractor.to_dict() == processor.feature_extractor.to_dict()
        first = processor(recordings, sampling_rate=16_000, text=[POLISH, None, "", "a", "b"])
        second = loaded(recordings, sampling_rate=16_000, text=[POLISH, None, "", "a", "b"])
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert loaded.decode_transcripts(second["labels"].tolist(), ctc=False)[0] == "ZAŻÓŁĆ GĘŚLĄ JAŹŃ"


def test_silence_is_trimmed_when_asked_for(tone, tmp_path):
    loud = tone(0.5)
    recording = np.concatenate([np.zeros(16_000, dtype=np.float32), loud, np.zeros(8_000, dtype=np.float32)])
    processor = SerMetaProcessor(EXTRACTORS["raw"](), character_tokenizer(), trim_decibels=30.0)
    processor.save_pretrained(tmp_path)
    for each in (processor, SerMetaProcessor.from_pretrained(tmp_path)):
        trimmed = each(recording, sampling_rate=16_000)["input_values"][0]
        np.testing.assert_array_equal(trimmed, recording[16_000 - 1_600 : 24_000 + 1_600])
    whole = SerMetaProcessor(EXTRACTORS["raw"](), character_tokenizer())(recording, sampling_rate=16_000)
    assert whole["input_values"].shape[1] == len(recording)


@pytest.mark.parametrize("samples", [1, 159, 400, 1_000])
def test_silence_alone_and_short_recordings_are_left(samples, tone):
    assert len(trim_silence(np.zeros(samples, dtype=np.float32), 16_000, 30.0)) == samples
    assert len(trim_silence(tone()[:samples], 16_000, 30.0)) == samples


def test_what_every_user_of_transformers_types(raw_processor, recordings):
    plain = raw_processor(recordings, sampling_rate=16_000)
    typed = raw_processor(recordings, sampling_rate=16_000, return_tensors="pt", padding=True, truncation=False)
    assert all(torch.equal(typed[name], plain[name]) for name in plain)
    longest = raw_processor(recordings, sampling_rate=16_000, padding="longest", return_attention_mask=True)
    assert torch.equal(longest["input_values"], plain["input_values"])


def test_numpy_when_asked_for(raw_processor, recordings):
    plain = raw_processor(recordings, sampling_rate=16_000, text=["a"] * len(recordings))
    batch = raw_processor(recordings, sampling_rate=16_000, text=["a"] * len(recordings), return_tensors="np")
    assert set(batch) == {"input_values", "attention_mask", "labels"}
    for name, array in batch.items():
        assert isinstance(array, np.ndarray) and np.array_equal(array, plain[name].numpy())


def test_a_batch_may_be_padded_further(raw_processor, recordings):
    batch = raw_processor(recordings, sampling_rate=16_000, pad_to_multiple_of=1_000)
    plain = raw_processor(recordings, sampling_rate=16_000)
    longest = plain["input_values"].shape[1]
    assert batch["input_values"].shape[1] == -(-longest // 1_000) * 1_000 != longest
    assert torch.equal(batch["attention_mask"].sum(dim=1), plain["attention_mask"].sum(dim=1))
    assert not batch["input_values"][:, longest:].any()


def test_without_padding_recordings_must_be_of_one_length(raw_processor, recordings):
    alone = raw_processor(recordings[0], sampling_rate=16_000, padding=False)
    assert alone["attention_mask"].all()
    with pytest.raises(ValueError, match="padding=False, but the recordings differ in length"):
        raw_processor([recordings[0], recordings[0][:500]], sampling_rate=16_000, padding=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"return_tensors": "tf"}, "return_tensors='tf' must be pt or np"),
        ({"truncation": True}, "truncation=True, max_length=None: recordings are not cut here"),
        ({"max_length": 16_000}, "max_length=16000: recordings are not cut here"),
        ({"padding": "max_length"}, "padding='max_length'"),
        ({"return_attention_mask": False}, "return_attention_mask=False"),
    ],
)
def test_what_would_change_the_recordings_is_refused(options, message, raw_processor, recordings):
    batch = [recordings[0], recordings[0][:500]]
    with pytest.raises(ValueError, match=message):
        raw_processor(batch, sampling_rate=16_000, **options)


def test_an_argument_that_nobody_knows_is_refused(raw_processor, recordings):
    with pytest.raises(TypeError, match="smapling_rate"):
        raw_processor(recordings, smapling_rate=16_000)
