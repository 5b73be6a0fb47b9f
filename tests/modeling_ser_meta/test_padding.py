"""Padding never changes a prediction, and without padding the encoder is the untouched one."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from transformers import AutoModel

from ser_meta.modeling_ser_meta.loading_ser_meta import ENCODER_CLASSES
from ser_meta.modeling_ser_meta.settings_ser_meta import FRAME_POOLINGS, WHISPER_ENCODERS

RAW_LENGTHS = [400, 719, 720, 6_400, 16_000, 23_457]
MEL_LENGTHS = [2, 3, 4, 40, 99, 146]


def lengths_for(model) -> list[int]:
    lengths = RAW_LENGTHS if model.encoder.input_name == "input_values" else MEL_LENGTHS
    return [max(length, model.encoder.shortest_input) for length in lengths]


def assert_rows_equal_recordings(model, together, recordings, tolerance=1e-4):
    for row, recording in enumerate(recordings):
        alone = model(**recording, output_hidden_states=True)
        frames = alone.frame_mask.shape[1]
        assert together.frame_mask[row].sum() == frames
        torch.testing.assert_close(together.logits[row], alone.logits[0], rtol=0, atol=tolerance)
        torch.testing.assert_close(together.embeddings[row], alone.embeddings[0], rtol=0, atol=tolerance)
        for name, logits in alone.task_logits.items():
            whole = together.task_logits[name][row]
            whole = whole[:frames] if name == "transcript" else whole
            torch.testing.assert_close(whole, logits[0], rtol=0, atol=tolerance)
        for padded, state in zip(together.hidden_states, alone.hidden_states, strict=True):
            torch.testing.assert_close(padded[row, :frames], state[0], rtol=0, atol=tolerance)
        torch.testing.assert_close(
            together.coattentions[row, ..., :frames], alone.coattentions[0], rtol=0, atol=tolerance
        )
        assert not together.coattentions[row, ..., frames:].any()


@torch.no_grad()
def test_alone_equals_in_a_batch(family, make_model, make_inputs, join):
    model = make_model(family)
    recordings = make_inputs(model, lengths_for(model))
    together = model(**join(model, recordings), output_hidden_states=True)
    assert together.logits.std(dim=0).min() > 0.01  # the recordings do matter
    assert_rows_equal_recordings(model, together, recordings)


@torch.no_grad()
def test_a_call_leaves_nothing_on_the_modules(family, make_model, make_inputs, join):
    """Threads may share a model."""
    model = make_model(family)

    def kept() -> dict:
        return {
            (name, key): value
            for name, module in model.named_modules()
            for key, value in {**vars(module), **module._buffers}.items()
            if not key.startswith("cached_")  # of rotary positions: kept, and not looked at
        }

    first, *others = (lengths_for(model)[2:4], lengths_for(model)[3:], lengths_for(model)[:3])
    model(**join(model, make_inputs(model, first)))  # Transformers hooks itself into the layers once
    before = kept()
    for lengths in others:
        model(**join(model, make_inputs(model, lengths)))
    after = kept()
    assert [key for key in before | after if after[key] is not before.get(key)] == []


@pytest.mark.parametrize("family", ["wav2vec2-conformer", "wav2vec2-conformer-rotary"], indirect=True)
def test_each_thread_has_its_own_mask(family, make_model, make_inputs, join):
    """Both threads are within the same layer before either reaches its convolution."""
    model, meeting = make_model(family), Barrier(2, timeout=60)
    batches = [join(model, make_inputs(model, lengths)) for lengths in ([6_400, 16_000], [16_000, 3_200])]
    with torch.no_grad():
        expected = [model(**batch).logits for batch in batches]

    def meet(*_) -> None:
        meeting.wait()

    for layer in model.encoder.layers:
        layer.self_attn.register_forward_hook(meet)

    @torch.no_grad()
    def recognise(batch: dict) -> torch.Tensor:
        return model(**batch).logits

    with ThreadPoolExecutor(2) as threads:
        for logits, wanted in zip(threads.map(recognise, batches), expected, strict=True):
            assert torch.equal(logits, wanted)


@pytest.mark.parametrize("family", ["wav2vec2-conformer-rotary", "wav2vec2-bert-rotary"], indirect=True)
def test_rotary_positions_are_the_stock_ones(family, make_model, make_speech_config):
    positions = make_model(family).encoder.backbone.encoder.embed_positions
    config = make_speech_config(family)
    stock = AutoModel.from_config(config).encoder.embed_positions
    for frames in (5, 9):
        positions.cached_sequence_length = frames  # as another thread leaves it between the stock module's two steps
        positions.cached_rotary_positional_embedding = torch.zeros(2, 3, 1, 1, 8)
        hidden_states = torch.zeros(2, frames, config.hidden_size)
        assert torch.equal(positions(hidden_states), stock(hidden_states))


@torch.no_grad()
@pytest.mark.parametrize("layer_fusion", ["weighted_sum", "last_hidden"])
@pytest.mark.parametrize("family", ["wav2vec2", "whisper"], indirect=True)
def test_alone_equals_in_a_batch_with_the_rivals(family, layer_fusion, make_model, make_inputs, join):
    model = make_model(family, layer_fusion=layer_fusion, coattention_pooled_frames=True, frame_pooling=FRAME_POOLINGS)
    recordings = make_inputs(model, lengths_for(model))
    together = model(**join(model, recordings), output_hidden_states=True)
    assert_rows_equal_recordings(model, together, recordings)


@torch.no_grad()
@pytest.mark.parametrize("family", ["wav2vec2", "hubert"], indirect=True)
def test_loud_recordings_with_an_offset(family, make_model, make_inputs, join):
    # the group norm's variance is the small difference of large numbers here
    model = make_model(family)
    recordings = make_inputs(model, RAW_LENGTHS)
    for index, recording in enumerate(recordings):
        recording["input_values"] = recording["input_values"] * 0.5**index + 0.5
    together = model(**join(model, recordings), output_hidden_states=True)
    assert_rows_equal_recordings(model, together, recordings)


def stock_encoder(model) -> torch.nn.Module:
    """Transformers' own, with the model's weights."""
    config = model.config.speech_config
    encoder_class = ENCODER_CLASSES.get(config.model_type)
    stock = AutoModel.from_config(config) if encoder_class is None else encoder_class._from_config(config)
    stock.load_state_dict(model.encoder.backbone.state_dict())
    return stock.eval()


@torch.no_grad()
@pytest.mark.parametrize("samples", [400, 8_000, 16_240])
def test_a_lone_recording_gives_the_untouched_encoders_bits(family, samples, make_model, make_inputs):
    if family in WHISPER_ENCODERS:
        pytest.skip("the stock encoder takes 30 s only")
    if family.startswith("sew") and samples == 400:
        pytest.skip("the stock encoder gives nothing for a single frame")
    model = make_model(family)
    torch.nn.init.zeros_(model.layer_fusion.weight)
    stock = stock_encoder(model)
    length = samples if model.encoder.input_name == "input_values" else samples // 160
    recording = make_inputs(model, [max(length, model.encoder.shortest_input)])[0]
    mask = {"input_features_mask": recording["attention_mask"]} if family == "fun_asr_nano_encoder" else {}
    expected = stock(recording[model.encoder.input_name], **mask, output_hidden_states=True)
    output = model(**recording, output_hidden_states=True)
    assert torch.equal(output.hidden_states[-1], expected.last_hidden_state)
    if not family.startswith("sew"):
        for state, lower in zip(output.hidden_states[:-1], expected.hidden_states[1:-1], strict=True):
            assert torch.equal(state, lower)


@torch.no_grad()
@pytest.mark.parametrize("family", WHISPER_ENCODERS)
def test_whisper_at_its_full_thirty_seconds_is_the_stock_encoder(family, make_model, make_inputs):
    model = make_model(family)
    recording = make_inputs(model, [3_000])[0]
    *lower, last = model(**recording, output_hidden_states=True).hidden_states
    expected = stock_encoder(model)(recording["input_features"], output_hidden_states=True)
    for state, same in zip(lower, expected.hidden_states[1:-1], strict=True):
        torch.testing.assert_close(state, same, rtol=0, atol=1e-5)
    if family == "qwen2_audio_encoder":  # which pools the last layer's frames two to one, before the norm
        assert expected.last_hidden_state.shape[1] == 750 and last.shape[1] == 1_500
    else:
        torch.testing.assert_close(last, expected.last_hidden_state, rtol=0, atol=1e-5)


@torch.no_grad()
def test_whisper_beyond_its_positions_is_refused(make_model, make_inputs):
    model = make_model("whisper")
    with pytest.raises(ValueError, match=r"30\.0 s is longer than the 30 s"):
        model(**make_inputs(model, [3_001])[0])


@torch.no_grad()
def test_too_short_recordings_are_named(make_model, make_inputs, join):
    model = make_model("wav2vec2")
    assert model.encoder.shortest_input == 400
    with pytest.raises(ValueError, match="399 samples is shorter than the 400"):
        model(**join(model, make_inputs(model, [399, 5_000])))


@pytest.mark.parametrize("shorter", [True, False])
def test_training_on_25_milliseconds_with_spec_augment(family, shorter, make_model, make_inputs, join):
    model = make_model(family, changes={"mask_time_prob": 0.5}).train()
    raw = model.encoder.input_name == "input_values"
    lengths = ([400, 401] if shorter else [400, 3_200]) if raw else ([1, 2] if shorter else [1, 20])
    lengths = [max(length, model.encoder.shortest_input) for length in lengths]
    labels = {"emotion": torch.tensor([0, 1]), "transcript": torch.tensor([[5, 6, 7], [-100, -100, -100]])}
    output = model(**join(model, make_inputs(model, lengths)), labels=labels)
    output.loss.backward()
    assert output.loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
