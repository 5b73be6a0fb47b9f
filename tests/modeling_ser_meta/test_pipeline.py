"""`pipeline("speech-emotion-recognition")`, and the stock pipeline on the same model."""

from itertools import pairwise

import numpy as np
import pytest
import soundfile
import torch
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor, pipeline
from transformers.pipelines.pt_utils import KeyDataset

from ser_meta.modeling_ser_meta import SerMetaProcessor, SpeechEmotionPipeline
from ser_meta.modeling_ser_meta.audio_ser_meta import AudioError
from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer

EMOTIONS = {"neutral", "happy", "angry", "sad"}
EXTRACTORS = {
    "wav2vec2": lambda: Wav2Vec2FeatureExtractor(do_normalize=False),
    "wav2vec2-large": lambda: Wav2Vec2FeatureExtractor(do_normalize=True),
    "wav2vec2-bert": lambda: SeamlessM4TFeatureExtractor(padding_value=1.0),
    "whisper": lambda: WhisperFeatureExtractor(feature_size=80),
}


@pytest.fixture(scope="module", params=EXTRACTORS)
def recognizer(request, make_model) -> SpeechEmotionPipeline:
    processor = SerMetaProcessor(EXTRACTORS[request.param](), character_tokenizer())
    return SpeechEmotionPipeline(model=make_model(request.param), processor=processor)


@pytest.fixture(scope="module")
def raw_recognizer(make_model) -> SpeechEmotionPipeline:
    processor = SerMetaProcessor(EXTRACTORS["wav2vec2"](), character_tokenizer())
    return SpeechEmotionPipeline(model=make_model("wav2vec2"), processor=processor)


def assert_same(first: dict, second: dict, tolerance: float = 1e-4) -> None:
    assert list(first) == list(second)
    for name, result in first.items():
        if isinstance(result, (str, bool)):
            assert result == second[name]
            continue
        if name == "segments":
            assert [(each["start"], each["end"]) for each in result] == [(e["start"], e["end"]) for e in second[name]]
            for mine, other in zip(result, second[name], strict=True):
                assert_same({"emotion": mine["emotion"]}, {"emotion": other["emotion"]}, tolerance)
            continue
        scores = {entry["label"]: entry["score"] for entry in second[name]}
        assert {entry["label"]: entry["score"] for entry in result} == pytest.approx(scores, abs=tolerance)


def test_what_one_recording_gives(recognizer, tone):
    result = recognizer({"array": tone(0.8), "sampling_rate": 16_000})
    assert list(result) == ["emotion", "transcript", "style", "gender"]  # the target first, no speaker
    assert {entry["label"] for entry in result["emotion"]} == EMOTIONS
    for name in ("emotion", "style", "gender"):
        scores = [entry["score"] for entry in result[name]]
        assert scores == sorted(scores, reverse=True) and sum(scores) == pytest.approx(1)
    assert isinstance(result["transcript"], str) and "<" not in result["transcript"]


@torch.no_grad()
def test_scores_and_transcript_are_the_models(recognizer, tone):
    samples = tone(0.8)
    result = recognizer({"array": samples, "sampling_rate": 16_000})
    output = recognizer.model(**recognizer.processor(samples, sampling_rate=16_000))
    for name in ("emotion", "style", "gender"):
        labels = recognizer.model.config.tasks[name]["labels"]
        expected = dict(zip(labels, output.task_logits[name][0].softmax(dim=-1).tolist(), strict=True))
        assert {entry["label"]: entry["score"] for entry in result[name]} == pytest.approx(expected, abs=1e-5)
    ids = output.task_logits["transcript"].argmax(dim=-1).tolist()
    assert result["transcript"] == recognizer.processor.decode_transcripts(ids)[0]


def test_every_kind_of_source(raw_recognizer, tone, tmp_path):
    samples = tone(0.6)
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    expected = raw_recognizer({"array": samples, "sampling_rate": 16_000})
    for source in (path, str(path), path.read_bytes(), {"path": str(path), "bytes": None}):
        assert_same(raw_recognizer(source), expected)
    assert_same(raw_recognizer(samples, sampling_rate=16_000), expected)
    (listed,) = raw_recognizer([str(path)])
    assert_same(listed, expected)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_other_rates_and_channels(raw_recognizer, rate, tone, tmp_path):
    stereo = tone(0.6, rate, (220.0, 330.0))
    soundfile.write(tmp_path / "a.wav", stereo.T, rate, subtype="FLOAT")
    from_file = raw_recognizer(tmp_path / "a.wav")
    assert_same(from_file, raw_recognizer({"array": stereo, "sampling_rate": rate}))
    assert_same(from_file, raw_recognizer(stereo.mean(axis=0), sampling_rate=rate))
    own = SpeechEmotionPipeline(
        model=raw_recognizer.model, processor=raw_recognizer.processor, sampling_rate=rate, tasks=["emotion"]
    )
    assert_same(own(stereo.mean(axis=0)), {"emotion": from_file["emotion"]})


def test_batches_change_nothing(recognizer, tone):
    recordings = [{"array": tone(seconds), "sampling_rate": 16_000} for seconds in (0.5, 0.025, 1.3)]
    one_by_one = recognizer(recordings, batch_size=1)
    for together in (recognizer(recordings, batch_size=2), list(recognizer((r for r in recordings), batch_size=3))):
        for first, second in zip(one_by_one, together, strict=True):
            assert_same(first, second)


def test_the_speaker_only_when_asked_for(raw_recognizer, tone):
    recording = {"array": tone(), "sampling_rate": 16_000}
    assert list(raw_recognizer(recording, tasks=["speaker", "emotion"])) == ["emotion", "speaker"]
    assert {entry["label"] for entry in raw_recognizer(recording, tasks=["speaker"])["speaker"]} == {
        "ann",
        "bob",
        "cid",
    }
    with pytest.raises(ValueError, match=r"tasks=\['mood'\] are not among the model's tasks"):
        raw_recognizer(recording, tasks=["mood"])


def test_what_is_refused(raw_recognizer, tone, tmp_path):
    with pytest.raises(AudioError, match="an array has no sampling rate: pass sampling_rate="):
        raw_recognizer(tone())
    with pytest.raises(AudioError, match="no such file"):
        raw_recognizer(tmp_path / "gone.wav")
    with pytest.raises(ValueError, match="300 samples is shorter than the 400"):
        raw_recognizer(tone()[:300], sampling_rate=16_000)


def test_half_precision(raw_recognizer, make_model, tone):
    model = make_model("wav2vec2").to(torch.bfloat16)
    half = SpeechEmotionPipeline(model=model, processor=raw_recognizer.processor)
    recording = {"array": tone(), "sampling_rate": 16_000}
    tasks = ["emotion", "gender"]
    assert_same(half(recording, tasks=tasks), raw_recognizer(recording, tasks=tasks), tolerance=0.02)


def test_the_stock_pipeline(recognizer, tone):
    extractor = recognizer.processor.feature_extractor
    stock = pipeline("audio-classification", model=recognizer.model, feature_extractor=extractor)
    arrays = [tone(0.5), tone(1.2)]
    expected = [recognizer(array, sampling_rate=16_000)["emotion"] for array in arrays]
    tolerance = 0.02 if recognizer.model.config.speech_config.model_type == "wav2vec2-bert" else 1e-3
    for batch_size in (1, 2):
        for scores, wanted in zip(stock([np.copy(a) for a in arrays], batch_size=batch_size), expected, strict=True):
            assert_same({"emotion": scores}, {"emotion": wanted}, tolerance)


def by_label(entries: list[dict]) -> dict[str, float]:
    return {entry["label"]: entry["score"] for entry in entries}


@pytest.fixture(scope="module")
def changing(tone) -> np.ndarray:
    """Twenty seconds in which pitch and loudness change."""
    parts = [0.3 * tone(7.3, pitches=(150.0,)), tone(6.1, pitches=(700.0,)), 0.5 * tone(6.6, pitches=(2_500.0,))]
    return np.concatenate(parts)


def test_a_long_recording_has_segments_from_end_to_end(raw_recognizer, changing):
    result = raw_recognizer(changing, sampling_rate=16_000, batch_size=3)
    assert list(result) == ["emotion", "transcript", "style", "gender", "segments"]
    segments = result["segments"]
    assert segments[0]["start"] == 0 and segments[-1]["end"] == 20.0
    for before, after in pairwise(segments):
        assert before["end"] == after["start"] and before["emotion"][0]["label"] != after["emotion"][0]["label"]
    assert sum(by_label(result["emotion"]).values()) == pytest.approx(1)
    assert "segments" not in raw_recognizer(changing[: 15 * 16_000], sampling_rate=16_000)


def test_windows_are_what_the_model_says_of_each(raw_recognizer, changing):
    result = raw_recognizer(changing, sampling_rate=16_000, window_seconds=5, hop_seconds=5, smoothing=0)
    alone = [raw_recognizer(part, sampling_rate=16_000) for part in np.split(changing, 4)]
    scores = [by_label(each["emotion"]) for each in alone]
    weights = [max(each.values()) for each in scores]
    transcripts = [result["transcript"]], [each["transcript"] for each in alone]
    expected = {
        label: sum(w * each[label] for w, each in zip(weights, scores, strict=True)) / sum(weights)
        for label in EMOTIONS
    }
    assert by_label(result["emotion"]) == pytest.approx(expected, abs=1e-4)
    best = [max(each, key=each.get) for each in scores]
    changes = [5.0 * index for index in range(1, 4) if best[index] != best[index - 1]]
    assert [segment["start"] for segment in result["segments"]] == [0.0, *changes]
    # no character twice, none lost, but where a repeat spans two windows
    characters, expected = (len("".join(texts).replace(" ", "")) for texts in transcripts)
    assert abs(characters - expected) < 4


def test_a_stream_gives_what_the_array_gives(raw_recognizer, changing, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([changing, changing], axis=1), 16_000, subtype="FLOAT")
    options = {"window_seconds": 3, "hop_seconds": 1, "batch_size": 4, "tasks": ["emotion", "transcript"]}
    expected = raw_recognizer({"array": changing, "sampling_rate": 16_000}, **options)
    live = (changing[start : start + 999] for start in range(0, len(changing), 999))
    with (tmp_path / "a.wav").open("rb") as opened:
        for source in (tmp_path / "a.wav", {"blocks": live, "sampling_rate": 16_000}, {"bytes": opened}):
            assert_same(raw_recognizer(source, **options), expected)


def test_a_data_set_of_short_and_long_recordings(raw_recognizer, changing, tone):
    recordings = [{"array": array, "sampling_rate": 16_000} for array in (tone(0.5), changing, tone(0.8), changing)]
    rows = [{"audio": recording} for recording in recordings]
    alone = [raw_recognizer(recording) for recording in recordings]
    for batch_size in (1, 3):
        together = list(raw_recognizer(KeyDataset(rows, "audio"), batch_size=batch_size))
        for first, second in zip(together, alone, strict=True):
            assert_same(first, second)


def test_labels_and_temperature(raw_recognizer, make_model, tone):
    recording = {"array": tone(), "sampling_rate": 16_000}
    scores = by_label(raw_recognizer(recording)["emotion"])
    two = by_label(raw_recognizer(recording, labels=["sad", "happy"])["emotion"])
    total = scores["sad"] + scores["happy"]
    assert two == pytest.approx({"sad": scores["sad"] / total, "happy": scores["happy"] / total}, rel=1e-4)
    for labels, message in ((["sad"], "two labels or more"), (["sad", "glad"], r"labels=\['glad'\] are not among")):
        with pytest.raises(ValueError, match=message):
            raw_recognizer(recording, labels=labels)

    model = make_model("wav2vec2", calibration_temperature=2.0)
    calm = SpeechEmotionPipeline(model=model, processor=raw_recognizer.processor)(recording)
    roots = {label: score**0.5 for label, score in scores.items()}
    expected = {label: root / sum(roots.values()) for label, root in roots.items()}
    assert by_label(calm["emotion"]) == pytest.approx(expected, abs=1e-5)
    assert_same({"gender": calm["gender"]}, {"gender": raw_recognizer(recording)["gender"]})


def test_a_weak_verdict_abstains(raw_recognizer, changing):
    sure = raw_recognizer(changing, sampling_rate=16_000, threshold=0.01)
    unsure = raw_recognizer(changing, sampling_rate=16_000, threshold=1.0)
    assert sure["abstained"] is False and unsure["abstained"] is True
    assert not any(segment["abstained"] for segment in sure["segments"])
    assert all(segment["abstained"] == (segment["emotion"][0]["score"] < 1) for segment in unsure["segments"])
    with pytest.raises(ValueError, match=r"threshold=1\.5 must be at most 1"):
        raw_recognizer(changing, sampling_rate=16_000, threshold=1.5)


def test_silence_is_no_segment(raw_recognizer, changing):
    pause = np.zeros(160_000, dtype=np.float32)
    result = raw_recognizer(np.concatenate([changing, pause, changing]), sampling_rate=16_000)
    times = [(segment["start"], segment["end"]) for segment in result["segments"]]
    assert times[0][0] == 0 and times[-1][1] == 50
    assert [(end, start) for (_, end), (start, _) in pairwise(times) if end != start] == [(20.2, 29.8)]
    assert "abstained" not in result
    for silent in (np.zeros(320_000, dtype=np.float32), 1e-4 * changing):
        result = raw_recognizer(silent, sampling_rate=16_000)
        assert result["abstained"] is True and result["segments"] == []
    short = raw_recognizer(np.zeros(64_000, dtype=np.float32), sampling_rate=16_000)
    assert short["abstained"] is True and "segments" not in short
    assert raw_recognizer(0.03 * changing, sampling_rate=16_000, gate_decibels=-30)["segments"] == []


def test_a_pause_parts_two_utterances(raw_recognizer, tone):
    first, second = tone(2.5, pitches=(150.0,)), 0.3 * tone(3.1, pitches=(2_500.0,))
    pause = np.zeros(16_000, dtype=np.float32)
    recording = np.concatenate([first, pause, second])
    result = raw_recognizer(recording, sampling_rate=16_000, window_seconds=4, batch_size=2)
    # both are heard with 200 ms of the pause
    pieces = recording[: round(2.7 * 16_000)], recording[round(3.3 * 16_000) :]
    alone = [raw_recognizer(piece, sampling_rate=16_000) for piece in pieces]
    weights = [each["emotion"][0]["score"] * len(piece) for each, piece in zip(alone, pieces, strict=True)]
    for task in ("emotion", "gender"):
        scores = [by_label(each[task]) for each in alone]
        shares = (
            weights
            if task == "emotion"
            else [max(each.values()) * len(piece) for each, piece in zip(scores, pieces, strict=True)]
        )
        expected = {label: np.average([each[label] for each in scores], weights=shares) for label in scores[0]}
        assert by_label(result[task]) == pytest.approx(expected, abs=1e-4)
    assert result["transcript"] == " ".join(each["transcript"] for each in alone)
    labels = [each["emotion"][0]["label"] for each in alone]
    times = [0.0, 6.6] if labels[0] == labels[1] else [0.0, 3.0, 6.6]
    assert [(s["start"], s["end"]) for s in result["segments"]] == list(pairwise(times))


@torch.no_grad()
def test_embeddings_on_request(raw_recognizer, changing, tone):
    samples = tone()
    output = raw_recognizer.model(**raw_recognizer.processor(samples, sampling_rate=16_000))
    embeddings = raw_recognizer(samples, sampling_rate=16_000, return_embeddings=True)["embeddings"]
    assert embeddings == pytest.approx(output.embeddings[0].tolist(), abs=1e-4)
    long = raw_recognizer(changing, sampling_rate=16_000, return_embeddings=True, batch_size=2)
    assert len(long["embeddings"]) == len(embeddings) and isinstance(long["embeddings"][0], float)


class Decoded:
    """What `datasets` gives for a row's audio: it answers two names, and is no dict."""

    def __init__(self, samples: np.ndarray, rate: int):
        self.known = {"array": samples, "sampling_rate": rate}

    def __getitem__(self, name):
        return self.known[name]


class Decoder:
    """As torchcodec decodes a file: `(channels, samples)` in a tensor."""

    def __init__(self, samples: np.ndarray, rate: int):
        self.data, self.sample_rate = torch.from_numpy(samples)[None], rate

    def get_all_samples(self):
        return self


def test_what_the_stock_pipeline_and_datasets_give(raw_recognizer, tone):
    samples = tone(0.6)
    expected = raw_recognizer(samples, sampling_rate=16_000)
    both = np.stack([samples, samples])
    sources = [
        {"raw": samples, "sampling_rate": 16_000},
        {"array": torch.from_numpy(samples).requires_grad_(), "sampling_rate": 16_000},
        {"array": both.T, "sampling_rate": 16_000},
        {"array": torch.from_numpy(both.T), "sampling_rate": 16_000},
        Decoded(samples, 16_000),
        Decoder(samples, 16_000),
    ]
    for source in sources:
        assert_same(raw_recognizer(source), expected)
    assert_same(raw_recognizer(torch.from_numpy(samples), sampling_rate=16_000), expected)
    half = {"array": torch.from_numpy(samples).bfloat16(), "sampling_rate": 16_000}
    assert_same(raw_recognizer(half, tasks=["gender"]), {"gender": expected["gender"]}, tolerance=0.05)
    for dtype, scale in ((np.int16, 2**15), (np.int32, 2**31)):
        whole = np.round(samples.astype(np.float64) * scale).astype(dtype)
        assert_same(raw_recognizer({"raw": whole, "sampling_rate": 16_000}), expected, tolerance=1e-3)


def test_the_stock_pipelines_options(raw_recognizer, changing):
    recording = {"array": changing, "sampling_rate": 16_000}
    all_of_them, best = raw_recognizer(recording), raw_recognizer(recording, top_k=2)
    for name in ("emotion", "gender"):
        assert best[name] == all_of_them[name][:2]
    assert all(len(segment["emotion"]) == 2 for segment in best["segments"])
    short = {"array": changing[:16_000], "sampling_rate": 16_000}
    logits = by_label(raw_recognizer(short, function_to_apply="none")["emotion"])
    exponentials = {label: np.exp(logit) for label, logit in logits.items()}
    softmax = {label: value / sum(exponentials.values()) for label, value in exponentials.items()}
    assert by_label(raw_recognizer(short)["emotion"]) == pytest.approx(softmax)
    sigmoid = {label: 1 / (1 + np.exp(-logit)) for label, logit in logits.items()}
    assert by_label(raw_recognizer(short, function_to_apply="sigmoid")["emotion"]) == pytest.approx(sigmoid)
    assert raw_recognizer(short, top_k=np.int64(2)) == raw_recognizer(short, top_k=2)
    of_numbers = [
        ("window_seconds", np.inf),
        ("window_seconds", 1e-6),
        ("gate_decibels", "loud"),
        ("threshold", "0.5"),
    ]
    of_numbers += [("hop_seconds", np.nan), ("smoothing", True)]
    for wrong in (
        {"top_k": 0},
        {"top_k": 1.5},
        {"function_to_apply": "tanh"},
        *({key: value} for key, value in of_numbers),
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            raw_recognizer(short, **wrong)


def test_a_call_takes_back_what_the_pipeline_was_given(raw_recognizer, tone):
    given = {"return_embeddings": True, "threshold": 1.0, "tasks": ["gender"], "window_seconds": 0.2, "top_k": 1}
    own = SpeechEmotionPipeline(model=raw_recognizer.model, processor=raw_recognizer.processor, **given)
    recording = {"array": tone(), "sampling_rate": 16_000}
    told = ["gender", "abstained", "abstained_because", "segments", "embeddings"]
    assert list(own(recording)) == told
    taken_back = {"return_embeddings": False, "threshold": None, "tasks": None, "window_seconds": None, "top_k": None}
    assert_same(own(recording, **taken_back), raw_recognizer(recording))


def test_segments_tell_the_other_tasks_and_are_of_the_first_that_is_asked_for(raw_recognizer, changing):
    options = {"sampling_rate": 16_000, "window_seconds": 5, "hop_seconds": 5, "smoothing": 0}
    result = raw_recognizer(changing, **options)
    alone = [raw_recognizer(part, sampling_rate=16_000) for part in np.split(changing, 4)]
    for segment in result["segments"]:
        assert list(segment) == ["start", "end", "emotion", "transcript", "style", "gender"]
        inside = [each for i, each in enumerate(alone) if segment["start"] <= 5 * i < segment["end"]]
        shares = [each["gender"][0]["score"] for each in inside]
        for label, score in by_label(segment["gender"]).items():
            expected = np.average([by_label(each["gender"])[label] for each in inside], weights=shares)
            assert score == pytest.approx(expected, abs=1e-4)
    genders = raw_recognizer(changing, tasks=["gender"], **options)["segments"]
    assert genders[0]["start"] == 0 and genders[-1]["end"] == 20
    assert all(list(segment) == ["start", "end", "gender"] for segment in genders)
    assert "segments" not in raw_recognizer(changing, tasks=["transcript"], **options)


def test_a_part_and_a_channel_are_heard_alone(raw_recognizer, changing, tmp_path):
    left, right = changing[: 5 * 16_000], changing[5 * 16_000 : 10 * 16_000]
    soundfile.write(tmp_path / "call.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    for channel, samples in ((0, left), ("left", left), (1, right), ("right", right)):
        source = {"path": tmp_path / "call.wav", "channel": channel}
        assert_same(raw_recognizer(source), raw_recognizer(samples, sampling_rate=16_000))
        part = raw_recognizer({**source, "start": 1.5, "end": 3})
        assert_same(part, raw_recognizer(samples[24_000:48_000], sampling_rate=16_000))
    for channel, message in (
        (2, "has no channel 2, but 2"),
        ("middle", "channel='middle' is none of"),
        (-1, "none of"),
    ):
        with pytest.raises(AudioError, match=message):
            raw_recognizer({"path": tmp_path / "call.wav", "channel": channel})


@pytest.mark.parametrize("seconds", [2, 20])
def test_what_is_silent_is_told_so(raw_recognizer, seconds, tone):
    constant = np.full(seconds * 16_000, 0.001, dtype=np.float32)
    click = np.concatenate([constant, 0.001 + tone(0.05)])
    for samples in (constant, click, constant + 0.4):
        result = raw_recognizer(samples, sampling_rate=16_000)
        assert result["abstained"] is True and result["silent"] is True
        assert result.get("segments", []) == []
    for heard in (tone(seconds), tone(seconds) + 0.4):
        assert "silent" not in raw_recognizer(heard, sampling_rate=16_000)
