"""What holds for any batch, transcript and recording: Hypothesis looks for one for which it does not."""

import string

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from properties import cheap, costly

from ser_meta.modeling_ser_meta.audio_ser_meta import read_audio, resample
from ser_meta.modeling_ser_meta.processing_ser_meta import LATIN, SPECIAL_TOKENS, normalize_transcript
from ser_meta.modeling_ser_meta.segments_ser_meta import LONGEST_BRIDGE, merged_segments, regions
from ser_meta.modeling_ser_meta.windows_ser_meta import cut_recording, cut_windows

VOCABULARY = (*SPECIAL_TOKENS, *LATIN)
BATCHES = st.lists(st.floats(0, 1), min_size=2, max_size=4)


def lengths_of(model, shares: list[float]) -> list[int]:
    """Lengths of recordings from what an encoder takes at least on: samples, or log-mel frames."""
    shortest, longest = (
        (max(400, model.encoder.shortest_input), 9_000) if model.encoder.input_name == "input_values" else (2, 60)
    )
    return [shortest + round(share * (longest - shortest)) for share in shares]


@torch.no_grad()
@costly
@given(shares=BATCHES, data=st.data())
def test_neither_padding_nor_place_in_the_batch_matters(family, make_model, make_inputs, join, shares, data):
    model = make_model(family)
    recordings = make_inputs(model, lengths_of(model, shares))
    order = data.draw(st.permutations(range(len(recordings))))
    together = model(**join(model, [recordings[row] for row in order]))
    for place, row in enumerate(order):
        alone = model(**recordings[row])
        frames = alone.frame_mask.shape[1]
        assert together.frame_mask[place].sum() == frames
        torch.testing.assert_close(together.embeddings[place], alone.embeddings[0], rtol=0, atol=1e-4)
        for name, logits in alone.task_logits.items():
            found = together.task_logits[name][place]
            found = found[:frames] if name == "transcript" else found
            torch.testing.assert_close(found, logits[0], rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def processor():
    from transformers import Wav2Vec2FeatureExtractor

    from ser_meta.modeling_ser_meta import SerMetaProcessor
    from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer

    return SerMetaProcessor(Wav2Vec2FeatureExtractor(do_normalize=True), character_tokenizer())


def greedy(ids: list[int], collapse: bool) -> str:
    """CTC's reading of a row of ids, written out: repeats are one, then blanks vanish; so do unknowns and padding."""
    ids = [0 if i == 1 else i for i in ids if i >= 0]
    kept = [i for place, i in enumerate(ids) if not (collapse and place and ids[place - 1] == i)]
    return "".join(VOCABULARY[i] for i in kept if i).replace("|", " ").strip()


@cheap
@given(st.lists(st.integers(-1, len(VOCABULARY) - 1) | st.sampled_from([0, 2, 3]), max_size=40), st.booleans())
def test_ids_are_read_as_ctc_says(processor, ids, collapse):
    assert processor.decode_transcripts([ids], ctc=collapse) == [greedy(ids, collapse)]


@cheap
@given(st.lists(st.text(string.ascii_letters + "' ,.!?[]{}<>-0é", max_size=30), min_size=1, max_size=4))
def test_a_transcript_comes_back_as_it_was_learned(processor, texts):
    labels = processor.encode_transcripts(texts)
    known = ["".join(c for c in normalize_transcript(text) if c in (*LATIN, " ")) for text in texts]
    assert processor.decode_transcripts(labels.tolist(), ctc=False) == [text.strip() for text in known]
    assert labels.shape == (len(texts), max(1, *map(len, known)))


@cheap
@given(st.text(max_size=40))
@example("\u0149")  # one letter, in capitals an apostrophe and another
def test_a_normal_transcript_is_one_line_and_stays_as_it_is(text):
    normal = normalize_transcript(text)
    assert normalize_transcript(normal) == normal
    assert "  " not in normal and normal == normal.strip() and len(normal.splitlines()) <= 1


@cheap
@given(st.integers(400, 4_000), st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000]))
def test_resampling_keeps_the_seconds(samples, rate):
    recording = np.random.default_rng(samples).normal(scale=0.1, size=samples).astype(np.float32)
    assert abs(len(resample(recording, rate, 16_000)) - samples * 16_000 / rate) <= 1


@cheap
@given(st.integers(2_000, 6_000), st.lists(st.floats(0, 1), max_size=5), st.sampled_from([8_000, 16_000, 44_100]))
def test_it_does_not_matter_in_which_blocks_a_recording_comes(samples, cuts, rate):
    recording = np.random.default_rng(0).normal(scale=0.1, size=samples).astype(np.float32)
    blocks = np.split(recording, sorted(int(cut * samples) for cut in cuts))
    whole = read_audio({"array": recording, "sampling_rate": rate})
    np.testing.assert_allclose(read_audio({"blocks": blocks, "sampling_rate": rate}), whole, atol=1e-6)


@cheap
@given(st.integers(1, 200), st.integers(1, 40), st.integers(1, 40), st.integers(1, 60))
def test_windows_cover_a_recording(length, window, hop, block):
    window, hop = max(window, hop), min(window, hop)
    recording = np.arange(length, dtype=np.float32)
    blocks = (recording[start : start + block] for start in range(0, length, block))
    pieces = list(cut_windows(blocks, window, hop))
    assert set(np.concatenate([piece.samples for piece in pieces])) == set(recording)
    for piece in pieces:
        np.testing.assert_array_equal(piece.samples, recording[piece.start : piece.start + len(piece.samples)])
        assert len(piece.samples) == min(window, length)
    assert_regions(regions([(piece.start, piece.start + len(piece.samples)) for piece in pieces]), 0, length)


def assert_regions(spans: list[tuple[float, float]], start: float, end: float) -> None:
    """That spans follow each other from a start to an end, without a gap or an overlap."""
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges)
    assert [edges[0], edges[-1]] == pytest.approx([start, end])
    assert edges[1:-1:2] == pytest.approx(edges[2::2])


@cheap
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), min_size=1, max_size=6), st.data())
def test_what_sounds_is_in_a_piece_and_no_moment_in_two(parts, data):
    rate = 200
    chance = np.random.default_rng(0)
    sounds = np.concatenate([np.full(tenths * rate // 10, loud) for loud, tenths in parts])
    recording = (np.where(sounds, 0.3, 0.0) * chance.choice([-1, 1], size=len(sounds))).astype(np.float32)
    block = data.draw(st.integers(1, 500))
    blocks = [recording[start : start + block] for start in range(0, len(recording), block)]
    pieces = list(cut_recording(blocks, rate, window_seconds=2.0))
    heard = np.zeros(len(recording), dtype=bool)
    for piece in pieces:
        end = piece.start + len(piece.samples)
        np.testing.assert_array_equal(piece.samples, recording[piece.start : end])
        heard[piece.start : end] = True
    # speech that is as short as a click may be taken for one
    long_enough = np.concatenate([np.full(tenths * rate // 10, loud and tenths > 2) for loud, tenths in parts])
    assert heard[long_enough].all()
    spans = regions([(piece.start, piece.start + len(piece.samples)) for piece in pieces])
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges)


@cheap
@given(
    st.lists(
        st.tuples(st.floats(0.5, 4), st.just(0.0) | st.floats(0.01, 4), st.floats(0.01, 0.99)), min_size=1, max_size=9
    ),
    st.floats(0.01, 5),
)
def test_segments_hold_all_pieces_in_order(pieces, smoothing):
    spans, now = [], 0.0
    for seconds, pause, _ in pieces:
        spans.append((now, now + seconds))
        now += seconds + pause
    scores = np.array([[share, 1 - share] for _, _, share in pieces])
    stretches = np.cumsum([0] + [pause > 0 for _, pause, _ in pieces[:-1]]).tolist()
    found = merged_segments(scores, spans, stretches, smoothing)
    edges = [edge for start, end, *_ in found for edge in (start, end)]
    assert edges == sorted(edges) and (edges[0], edges[-1]) == (spans[0][0], spans[-1][1])
    for before, after in zip(edges[1:-1:2], edges[2::2], strict=True):
        assert before == after or after - before > LONGEST_BRIDGE - 1e-9
    for start, end in spans:
        assert any(first <= start and end <= last for first, last, *_ in found)
    assert all(np.isfinite(of).all() and of.sum() == pytest.approx(1) for _, _, of, _ in found)
