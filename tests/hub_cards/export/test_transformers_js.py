"""What a push sends for transformers.js: the layout and the graphs; a campaign of the same name runs them in Node."""

import json

import numpy as np
import pytest
import torch
from tiny_model import save_tiny_model

from ser_meta.hub_cards.export.transformers_js import write_for_transformers_js
from ser_meta.training.runs.loading import load_model

onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    model, processor = load_model(save_tiny_model(tmp_path_factory.mktemp("model")))
    model.config.calibration_temperature = 0.005
    return model, processor


@torch.no_grad()
def test_the_graphs_give_calibrated_logits_and_no_answer_that_stays_here(tiny, tmp_path):
    model, processor = tiny
    files = write_for_transformers_js(model, processor, tmp_path / "graphs", ["gender"])
    assert list(files) == ["onnx/model.onnx", "onnx/model_quantized.onnx", "preprocessor_config.json"]
    facts = json.loads(files["preprocessor_config.json"].read_text())
    assert (facts["feature_extractor_type"], facts["sampling_rate"]) == ("Wav2Vec2FeatureExtractor", 16_000)
    inputs = processor([np.random.default_rng(0).normal(size=9_000).astype(np.float32)], sampling_rate=16_000)
    expected = (model(**inputs).logits / 0.005).softmax(-1).numpy()
    assert np.ptp(expected) > 0.01
    for name, tolerance in (("onnx/model.onnx", 1e-5), ("onnx/model_quantized.onnx", 0.05)):
        session = onnxruntime.InferenceSession(files[name])
        names = [output.name for output in session.get_outputs()]
        assert sorted(names) == ["frame_mask", "logits", "transcript_logits"]
        given = {name: inputs[name].numpy() for name in ("input_values", "attention_mask")}
        (logits,) = session.run(["logits"], given)
        assert torch.tensor(logits).softmax(-1).numpy() == pytest.approx(expected, abs=tolerance)
        weights = [tensor.name for tensor in onnx.load(files[name]).graph.initializer]
        assert not any("gender.classifier" in name for name in weights)
        assert any("gender.dense" in name for name in weights)  # the co-attention reads it


def test_a_push_with_graphs_lists_them_and_says_so_on_the_card(command_line, finished_run):
    code, printed, _ = command_line("push", finished_run, "someone/graphs", "--onnx", "--dry-run")
    assert code == 0
    assert {"onnx/model.onnx", "onnx/model_quantized.onnx", "preprocessor_config.json"} <= set(printed.split())
