"""A model's graphs for transformers.js: what a browser, or Node, reads of a repository on the Hub."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ...configuration.errors import UserError
from ...modeling_ser_meta.graph_ser_meta import TOLERANCE, graph_difference, noise, write_graph
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor
from .int8 import quantize
from .onnx import require_exportable

GRAPHS = ("onnx/model.onnx", "onnx/model_quantized.onnx")  # its `dtype` fp32, and q8
EXTRACTOR = "preprocessor_config.json"


def write_for_transformers_js(
    model: SerMetaModel, processor: SerMetaProcessor, folder: Path, left_out: Collection[str] = ()
) -> dict[str, Path]:
    """Writes a model's graph, the same with 8-bit products, and the settings of the encoder's own feature extractor.

    The output `logits` is the target's, calibrated, so that softmax gives the pipeline's scores, and sigmoid those of
    several labels at once; the other tasks' outputs are called `gender_logits` and so on.

    Args:
        model: a trained one.
        processor: the model's.
        folder: to write into.
        left_out: tasks whose answers are not given, nor what they are made with.

    Returns:
        the files, by path in the repository.

    Raises:
        UserError: a library is missing, the encoder's family cannot be exported, or the graph gives something else.
    """
    require_exportable(model)
    model, batch = model.float().eval(), noise(processor)
    files = {name: folder / name for name in (*GRAPHS, EXTRACTOR)}
    (folder / GRAPHS[0]).parent.mkdir(parents=True)
    whole, in_8_bits = (files[name] for name in GRAPHS)
    write_graph(model, batch, whole)
    if len(list(whole.parent.iterdir())) > 1:
        raise UserError("the graph is too large for one file, and for a browser: push without --onnx")
    if (difference := graph_difference(model, batch, whole)) > TOLERANCE:
        raise UserError(f"the graph's logits differ from the model's by {difference:.2g}: push without --onnx")
    _name_the_targets_logits(whole, vars(model.config), left_out)
    quantize(whole, in_8_bits)
    processor.feature_extractor.save_pretrained(folder)
    return files


def _name_the_targets_logits(graph: Path, config: Mapping[str, Any], left_out: Collection[str]) -> None:
    """Takes out the answers of tasks, and calls the target's `logits`, divided by their temperature; in place."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    read = onnx.load(graph)
    target, inputs = f"{config['target_task']}_logits", [value.name for value in read.graph.input]
    kept = [value.name for value in read.graph.output if value.name.removesuffix("_logits") not in left_out]
    model = onnx.utils.Extractor(read).extract_model(inputs, kept)
    temperature = np.array(config["calibration_temperature"], np.float32)
    model.graph.initializer.append(numpy_helper.from_array(temperature, "calibration_temperature"))
    model.graph.node.append(helper.make_node("Div", [target, "calibration_temperature"], ["logits"]))
    next(value for value in model.graph.output if value.name == target).name = "logits"
    onnx.save(model, graph)
