"""The matrix products of an exported graph in 8 bits: its weights, and what comes in.

A weight matrix has one scale a column. What it is multiplied with has a scale and a zero point a frame, found while
the graph runs: frames differ in loudness, and no recordings are at hand to fit scales to. The products themselves are
of whole numbers:

    frame           = scale (row - point)
    frame x weights = scale (row - 128) x weights + scale (128 - point) sums

where `sums` are those of the weights' columns.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

LAYER = re.compile(r"encoder[\w.]*\.layers\.\d+\.")
LARGEST = 1536 * 2**20  # bytes of weights in a file of at most 2 GB, from where torch puts them beside it too
DOMAIN, CONTRIBUTED = "ser_meta", "com.microsoft"
ROWS_IN_8_BITS = """
<domain: "ser_meta", opset_import: ["" : 20]>
RowsIn8Bits (frames) => (rows, scales, offsets, leading)
{
    values = Flatten <axis = -1> (frames)
    last = Constant <value_ints = [-1]> ()
    zero = Constant <value_float = 0.0> ()
    smallest = Constant <value_float = 1e-12> ()
    steps = Constant <value_float = 255.0> ()
    middle = Constant <value_float = 128.0> ()
    minima = ReduceMin <keepdims = 1> (values, last)
    maxima = ReduceMax <keepdims = 1> (values, last)
    lowest = Min (minima, zero)
    highest = Max (maxima, smallest)
    ranges = Sub (highest, lowest)
    scales = Div (ranges, steps)
    below = Div (lowest, scales)
    rounded = Round (below)
    points = Neg (rounded)
    bytes = Cast <to = 2> (points)
    row_scales = Reshape (scales, last)
    row_points = Reshape (bytes, last)
    rows = QuantizeLinear <axis = 0> (values, row_scales, row_points)
    distances = Sub (middle, points)
    offsets = Mul (distances, scales)
    leading = Shape <end = -1> (frames)
}
"""
PRODUCT_IN_8_BITS = """
<domain: "ser_meta", opset_import: ["" : 20, "com.microsoft" : 1]>
ProductIn8Bits (rows, scales, offsets, leading, weights, weight_scales, sums) => (product)
{
    one = Constant <value_float = 1.0> ()
    middle = Constant <value = uint8 {128}> ()
    by_column = com.microsoft.MatMulIntegerToFloat (rows, weights, one, weight_scales, middle)
    by_row = Mul (by_column, scales)
    products = Gemm (offsets, sums, by_row)
    last = Constant <value_ints = [-1]> ()
    shape = Concat <axis = 0> (leading, last)
    product = Reshape (products, shape)
}
"""


def quantize(graph: Path, quantized: Path) -> None:
    """Writes a graph that computes the encoder layers' products with weights in 8 bits.

    A graph that is not quantised needs standard operators only; this one needs onnxruntime's own, too.
    """
    import onnx
    from onnx import parser

    model = onnx.load(graph)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes, weights = _products_in_8_bits(model.graph.node, layers_products(model))
    kept = [tensor for name, tensor in tensors.items() if name not in weights]
    _replace(model.graph.node, nodes)
    _replace(model.graph.initializer, [*kept, *_stored_in_8_bits(tensors[name] for name in weights)])
    model.functions.extend(map(parser.parse_function, (ROWS_IN_8_BITS, PRODUCT_IN_8_BITS)))
    model.opset_import.extend(onnx.helper.make_opsetid(domain, 1) for domain in (DOMAIN, CONTRIBUTED))
    inside = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    beside = {"save_as_external_data": True, "location": f"{quantized.name}.data"} if inside > LARGEST else {}
    onnx.save(model, quantized, **beside)


def columns_in_8_bits(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whole numbers from -127 to 127 in the weights' shape `(rows, columns)`, each column's scale, and the sums
    `(1, columns)` of what is stored so."""
    scales = (np.maximum(np.abs(weights).max(axis=0), 1e-12) / 127).astype(np.float32)
    numbers = np.round(weights / scales).astype(np.int8)
    return numbers, scales, numbers.sum(axis=0, keepdims=True, dtype=np.float32) * scales


def layers_products(model: Any) -> list[Any]:
    """The nodes of a graph that are an encoder layer's product with its weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    return [node for node in products if LAYER.search(_scopes(node))]


def _scopes(node: Any) -> str:
    """The names of the modules that a node came from."""
    return {entry.key: entry.value for entry in node.metadata_props}.get("pkg.torch.onnx.name_scopes", "")


def _products_in_8_bits(nodes: Sequence[Any], products: Iterable[Any]) -> tuple[list[Any], list[str]]:
    """The graph's nodes with these products in 8 bits among them, and the names of the products' weights."""
    from onnx import helper

    changed, weights, rows, outputs = [], [], {}, {node.output[0] for node in products}
    for node in nodes:
        if node.output[0] not in outputs:
            changed.append(node)
            continue
        frames, name = node.input
        if frames not in rows:
            rows[frames] = [f"{frames}_{part}" for part in ("rows", "scales", "offsets", "leading")]
            changed.append(helper.make_node("RowsIn8Bits", [frames], rows[frames], domain=DOMAIN))
        weights.append(name)
        inputs = [*rows[frames], f"{name}_int8", f"{name}_scales", f"{name}_sums"]
        changed.append(helper.make_node("ProductIn8Bits", inputs, node.output, node.name, domain=DOMAIN))
    return changed, weights


def _stored_in_8_bits(tensors: Iterable[Any]) -> Iterable[Any]:
    from onnx import numpy_helper

    for tensor in tensors:
        parts = zip(("int8", "scales", "sums"), columns_in_8_bits(numpy_helper.to_array(tensor)), strict=True)
        yield from (numpy_helper.from_array(values, f"{tensor.name}_{part}") for part, values in parts)


def _replace(field: Any, values: Iterable[Any]) -> None:
    values = list(values)
    del field[:]
    field.extend(values)
