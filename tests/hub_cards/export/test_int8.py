"""Products in 8 bits: near those in single precision, whatever else is loud."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from ser_meta.hub_cards.export.int8 import quantize

FRAMES = np.random.default_rng(0).normal(loc=1.0, size=(2, 5, 96)).astype(np.float32)
SCOPES = {
    "a": "model.encoder.backbone.layers.2.fc1",
    "b": "model.encoder.backbone.encoder.layers.11.attention.k_proj",
    "c": "model.coattention.layers.0.query",
    "d": "model.heads.layers.2.dense",
}


@pytest.fixture
def graph(tmp_path):
    """Products of the same frames `(batch, frames, 96)`: of the encoder's layers, and above them."""
    chance = np.random.default_rng(1)
    tensors = {name: chance.normal(size=(96, 64)).astype(np.float32) for name in SCOPES}
    nodes = [helper.make_node("MatMul", ["x", name], [f"{name}_product"]) for name in SCOPES]
    for node, scope in zip(nodes, SCOPES.values(), strict=True):
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=repr(["", scope, "linear"]))
    outputs = [helper.make_tensor_value_info(f"{name}_product", onnx.TensorProto.FLOAT, None) for name in SCOPES]
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, None)]
    initializers = [numpy_helper.from_array(values, name) for name, values in tensors.items()]
    made = helper.make_graph(nodes, "products", inputs, outputs, initializers)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "graph.onnx")
    return tmp_path / "graph.onnx"


def outputs_of(graph, frames):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"]).run(None, {"x": frames})


@pytest.mark.parametrize("shift", [0.0, 4.0, -40.0])
def test_products_are_near_also_of_one_sided_frames(graph, shift):
    expected = outputs_of(graph, FRAMES + shift)
    quantize(graph, graph)
    for one, other in zip(outputs_of(graph, FRAMES + shift), expected, strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() < 0.02 * np.abs(other).max()


def test_only_the_encoders_layers_are_in_8_bits(graph):
    before = outputs_of(graph, FRAMES)
    quantize(graph, graph)
    kinds = {tensor.name: tensor.data_type for tensor in onnx.load(graph).graph.initializer}
    assert kinds["a_int8"] == kinds["b_int8"] == onnx.TensorProto.INT8 and "a" not in kinds and "b" not in kinds
    assert kinds["c"] == kinds["d"] == onnx.TensorProto.FLOAT and "c_int8" not in kinds
    for one, other in list(zip(outputs_of(graph, FRAMES), before, strict=True))[2:]:
        np.testing.assert_array_equal(one, other)


def test_a_frame_does_not_depend_on_the_others(graph):
    quantize(graph, graph)
    louder = FRAMES.copy()
    louder[:, 1:] *= 1e4
    for one, other in zip(outputs_of(graph, FRAMES)[:2], outputs_of(graph, louder)[:2], strict=True):
        np.testing.assert_array_equal(one[:, 0], other[:, 0])


def test_silence_is_silent(graph):
    quantize(graph, graph)
    for values in outputs_of(graph, np.zeros_like(FRAMES)):
        assert np.abs(values).max() < 1e-9
