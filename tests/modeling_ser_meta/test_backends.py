"""Another backend: the same answers from a graph that is written once, and refusals where there can be none."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from exportable import CONFIGS, EXTRACTORS, assert_same_result, make_model, speech
from tiny_model import RAW
from transformers import SEWConfig

from ser_meta.modeling_ser_meta import SerMetaProcessor, SpeechEmotionPipeline
from ser_meta.modeling_ser_meta import backends_ser_meta as backends
from ser_meta.modeling_ser_meta.graph_ser_meta import open_session
from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer

pytest.importorskip("onnxruntime")
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """The module's own, so that a graph that two tests need is written once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield backends.cache_folder()


def tiny(family: str, **settings):
    trim = 40.0 if family in ("hubert", "whisper") else None
    return make_model(CONFIGS[family](), **settings), SerMetaProcessor(
        EXTRACTORS[family](), character_tokenizer(), trim
    )


@pytest.fixture
def onnx_pipeline():
    model, processor = tiny("wav2vec2")
    return SpeechEmotionPipeline(model=model, processor=processor, backend="onnx")


@pytest.mark.parametrize("family", CONFIGS)
@torch.no_grad()
def test_every_length_in_every_order_gives_what_torch_gives(family):
    model, processor = tiny(family)
    shortest = max(1, model.encoder.shortest_input) / 16_000
    batches = [[shortest], [1.3], [0.5], [1.3, 0.5, 0.9], [4.0]]
    heard = [processor([speech(seconds) for seconds in batch], sampling_rate=16_000) for batch in batches]
    expected = [model(**features) for features in heard]
    for order in ([0, 4, 1, 3, 2, 0], [4, 0, 1], [3, 1, 0, 2, 4]):
        network = backends.network_of(model, processor, "onnx", CPU)
        for number in order:
            found, wanted = network(**heard[number]), expected[number]
            mask = wanted.frame_mask
            torch.testing.assert_close(found.embeddings, wanted.embeddings, rtol=0, atol=1e-4)
            torch.testing.assert_close(found.logits, wanted.logits, rtol=0, atol=1e-4)
            for name, logits in wanted.task_logits.items():
                of_frames = logits.dim() == 3
                values = found.task_logits[name][:, : mask.shape[1]][mask] if of_frames else found.task_logits[name]
                torch.testing.assert_close(values, logits[mask] if of_frames else logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", ["wav2vec2", "whisper"])
def test_the_pipelines_results_are_the_same(family):
    model, processor = tiny(family)
    plain, other = (SpeechEmotionPipeline(model=model, processor=processor, backend=b) for b in ("torch", "onnx"))
    for recording, options in (
        ({"array": speech(0.8), "sampling_rate": 22_050}, {"return_embeddings": True}),
        ({"array": speech(18.0), "sampling_rate": 16_000}, {"batch_size": 3}),
        ({"array": speech(2.0), "sampling_rate": 16_000}, {"window_seconds": 0.5, "threshold": 0.6}),
    ):
        assert_same_result(other(recording, **options), plain(recording, **options), tolerance=1e-3)


def test_a_graph_is_written_once_and_anew_for_other_weights(cache, onnx_pipeline, caplog):
    model, processor = tiny("wav2vec2")
    graph = backends.exported(model, processor)
    assert graph == onnx_pipeline.network.graph and graph.parent.parent == cache
    assert {path.name for path in graph.parent.iterdir()} == {"model.onnx", "model.onnx.data"}  # which is mapped
    assert not caplog.messages
    written = graph.stat().st_mtime_ns
    assert backends.exported(model, processor).stat().st_mtime_ns == written
    with torch.no_grad():
        model.classifier[-1].bias += 1
    other = backends.exported(model, processor)
    assert other.parent != graph.parent
    assert "writing the network for onnxruntime" in caplog.text and str(other.parent) in caplog.text
    leftovers = {path for path in cache.iterdir() if path.suffix != ".lock"} - {
        path.parent for path in cache.glob("*/*.onnx")
    }
    assert not leftovers


def test_a_runtime_that_answers_wrongly_after_a_single_frame_is_refused(onnx_pipeline):
    """As it is told of OpenVINO 2026.4."""
    model, processor = tiny("wav2vec2")
    shortest = model.encoder.shortest_input

    class Forgetful:
        def __init__(self):
            self.session, self.spoilt = open_session(onnx_pipeline.network.graph), None

        def run(self, names, inputs):
            self.spoilt = inputs["input_values"].shape[1] == shortest if self.spoilt is None else self.spoilt
            mask, *numbers = self.session.run(names, inputs)
            longer = inputs["input_values"].shape[1] > shortest
            return [mask, *(values + 0.1 if self.spoilt and longer else values for values in numbers)]

    assert backends.check_outputs(lambda: open_session(onnx_pipeline.network.graph), model, processor) < 1e-4
    with pytest.raises(ValueError, match=r"outputs differ from the model's by 0\.1: run it with torch"):
        backends.check_outputs(Forgetful, model, processor)


def test_auto_measures_once_and_remembers(caplog):
    model, processor = tiny("wav2vec2")
    first = backends.network_of(model, processor, "auto", CPU)
    seconds = backends.exported(model, processor).parent / "seconds.json"
    ((here, taken),) = json.loads(seconds.read_text()).items()
    assert set(taken) == {"torch", "onnx"} and min(taken.values()) > 0 and here in caplog.text
    assert (first is None) == (taken["torch"] <= taken["onnx"])
    for faster in ("torch", "onnx"):
        seconds.write_text(json.dumps({here: {"torch": 1.0, "onnx": 2.0 if faster == "torch" else 0.5}}))
        chosen = backends.network_of(model, processor, "auto", CPU)
        assert (chosen is None) == (faster == "torch")
    seconds.unlink()


def test_what_is_refused(monkeypatch, caplog):
    model, processor = tiny("wav2vec2")
    with pytest.raises(ValueError, match="backend='jax' is none of torch, onnx, auto"):
        SpeechEmotionPipeline(model=model, processor=processor, backend="jax")
    with pytest.raises(ValueError, match=r"computes in float32 on the CPU: the model is in torch\.bfloat16 on cpu"):
        backends.network_of(tiny("wav2vec2")[0].bfloat16(), processor, "onnx", CPU)
    pairs = make_model(SEWConfig(**RAW, squeeze_factor=2))
    with pytest.raises(ValueError, match="a model with a sew encoder cannot be exported"):
        backends.network_of(pairs, processor, "onnx", CPU)
    assert backends.network_of(pairs, processor, "auto", CPU) is None
    assert "torch is used: a model with a sew encoder cannot be exported" in caplog.text
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    with pytest.raises(ValueError, match=r"cannot be kept in /proc/nowhere/.*: mend that, set XDG_CACHE_HOME, or run"):
        backends.network_of(model, processor, "onnx", CPU)


def test_what_is_missing_is_named(monkeypatch):
    model, processor = tiny("wav2vec2")
    monkeypatch.setattr("ser_meta.modeling_ser_meta.graph_ser_meta.NEEDED", ("onnx", "no_such_library"))
    with pytest.raises(ValueError, match=r'exporting needs no_such_library: pip install "ser-meta\[onnx\]"'):
        backends.network_of(model, processor, "onnx", CPU)


def test_what_the_graph_cannot_take_is_an_error_of_the_recording():
    model, processor = tiny("whisper")
    network = backends.network_of(model, processor, "onnx", CPU)
    too_long = {"input_features": torch.zeros(1, 80, 3_200), "attention_mask": torch.ones(1, 3_200, dtype=torch.int64)}
    with pytest.raises(ValueError, match="onnxruntime cannot take it"):
        network(**too_long)


def test_the_command_gives_the_same_and_keeps_no_weights_of_torch(
    finished_run, speech_table, command_line, network_cache
):
    recordings = sorted(map(str, Path(speech_table).parent.glob("*.wav")))[:5]
    told = {}
    for backend in ("torch", "onnx"):
        code, printed, errors = command_line(
            "predict", finished_run / "model", *recordings, "--json", "--least-familiar", "0.5", "--backend", backend
        )
        assert code == 0, errors
        told[backend] = [json.loads(line) for line in printed.splitlines()]
    assert all({"familiar", "abstained"} <= set(result) for result in told["torch"])
    for one, other in zip(told["onnx"], told["torch"], strict=True):
        assert_same_result(one, other, tolerance=1e-3)
    code, _, errors = command_line("predict", finished_run / "model", recordings[0], "--backend", "jax")
    assert (code, errors) == (2, ["ser-meta: --backend jax is none of torch, onnx, auto"])
    code, _, errors = command_line(
        "predict", finished_run / "model", recordings[0], "--backend", "onnx", "--precision", "bf16"
    )
    assert (code, errors) == (2, ["ser-meta: --precision bf16 is for torch: leave it out, or --backend onnx"])
    from ser_meta.training.prediction.recognition import load_pipeline

    recognise = load_pipeline(finished_run / "model", {}, 8, None, backend="onnx")
    assert {parameter.device.type for parameter in recognise.model.parameters()} == {"meta"}
    assert np.isfinite(recognise(recordings[0])["emotion"][0]["score"])
