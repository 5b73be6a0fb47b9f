"""A model as an ONNX graph: for batches of any size, in which every recording counts as padded."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from .encoder_ser_meta import Wav2Vec2BertFrames, WhisperFrames
from .frames_ser_meta import EncoderOutput
from .padding_ser_meta import mask_of

if TYPE_CHECKING:
    from .modeling_ser_meta import SerMetaModel, SerMetaOutput
    from .processing_ser_meta import SerMetaProcessor

Batch = Mapping[str, torch.Tensor]
OPSET = 20  # the first with GELU as one operator
TOLERANCE = 1e-4  # of the graph's outputs against the model's, times the model's largest where that is above 1
NEEDED = ("onnx", "onnxscript", "onnxruntime")
NO_GRAPH = "no graph is written for it yet"
PAIRS = "it averages frames in pairs, and the exporter cannot follow lengths that depend on the recording's"
CANNOT = {
    **dict.fromkeys(("sew", "sew-d"), PAIRS),
    **dict.fromkeys(("moonshine", "parakeet_encoder", "fun_asr_nano_encoder"), NO_GRAPH),
}


def check_exportable(model: "SerMetaModel") -> None:
    """Raises `ValueError` where a library is missing, or the encoder's family cannot be exported."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ValueError(f'exporting needs {", ".join(missing)}: pip install "ser-meta[onnx]"')
    family = model.config.speech_config.model_type
    if family in CANNOT or model.config.encoder_frames is not None:
        why = CANNOT.get(family, NO_GRAPH)
        raise ValueError(f"a model with a {family} encoder cannot be exported: {why}; run it with torch")


class ExportedGraph(nn.Module):
    """A model without the branches that depend on the recordings: every batch counts as padded.

    Args:
        model: in evaluation mode.
        embeddings: give these too, as the last output.
    """

    def __init__(self, model: "SerMetaModel", embeddings: bool = False):
        super().__init__()
        self.model, self.embeddings = model, embeddings

    def forward(self, inputs: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """From the encoder's input and its mask to what `flat` gives."""
        encoded = _encode(self.model.encoder, inputs, attention_mask)
        states = torch.stack(encoded.hidden_states, dim=1)
        output = self.model(layer_states=states, attention_mask=encoded.frame_mask)
        return (*flat(output), output.embeddings) if self.embeddings else flat(output)


def flat(output: "SerMetaOutput") -> tuple[torch.Tensor, ...]:
    """The frame mask, each task's logits in the config's order, and how familiar, where the model tells that."""
    familiar = () if output.familiar is None else (output.familiar,)
    return output.frame_mask, *output.task_logits.values(), *familiar


def _encode(encoder: nn.Module, inputs: torch.Tensor, attention_mask: torch.Tensor) -> EncoderOutput:
    """The encoder's own forward, less what only spares work where nothing is padded."""
    lengths = attention_mask.sum(dim=-1)
    if isinstance(encoder, WhisperFrames):
        frame_mask = mask_of(encoder.frame_lengths(lengths), (inputs.shape[-1] - 1) // 2 + 1)
        return encoder.run_layers(encoder.embed(encoder.convolve(inputs, attention_mask)), frame_mask, padded=True)
    if isinstance(encoder, Wav2Vec2BertFrames):
        features, frame_mask, mask = inputs, attention_mask.bool(), attention_mask.bool()
    else:
        features, mask = encoder.backbone.feature_extractor(inputs, lengths), attention_mask.bool()
        frame_mask = mask_of(encoder.frame_lengths(lengths), features.shape[-1])
    output = encoder.backbone(features, attention_mask=mask, output_hidden_states=True)
    return EncoderOutput((*output.hidden_states[1 : len(encoder.layers)], output.last_hidden_state), frame_mask)


def noise(processor: "SerMetaProcessor", seconds: Sequence[float] = (1.0, 0.7)) -> dict[str, torch.Tensor]:
    """A padded batch of recordings: of two, what the graph is traced with, and first compared on."""
    rate, chance = processor.sampling_rate, np.random.default_rng(0)
    recordings = [chance.normal(scale=0.1, size=round(length * rate)).astype(np.float32) for length in seconds]
    return dict(processor(recordings, sampling_rate=rate))


@torch.no_grad()
def write_graph(
    model: "SerMetaModel", batch: Batch, path: Path, embeddings: bool = False, weights_beside: bool = False
) -> None:
    """Writes a model's graph, traced with a batch.

    Args:
        model: in evaluation mode.
        batch: a padded one.
        path: of the file.
        embeddings: give these too, as the last output.
        weights_beside: write the weights into a second file, `path` and `.data`, from which onnxruntime maps them; a
            graph that holds them is in memory twice while it is opened.
    """
    name, any_size = model.encoder.input_name, torch.export.Dim.DYNAMIC
    time = 1 if isinstance(model.encoder, Wav2Vec2BertFrames) else batch[name].dim() - 1
    outputs = ["frame_mask", *(f"{task}_logits" for task in model.config.tasks)]
    outputs += [] if model.familiarity is None else ["familiar"]
    with _quiet():
        torch.onnx.export(
            ExportedGraph(model, embeddings),
            (batch[name], batch["attention_mask"]),
            path,
            input_names=[name, "attention_mask"],
            output_names=[*outputs, "embeddings"] if embeddings else outputs,
            dynamic_shapes=({0: any_size, time: any_size}, {0: any_size, 1: any_size}),
            opset_version=OPSET,
            dynamo=True,
            external_data=weights_beside,
            verbose=False,
        )


def open_session(graph: Path, threads: int = 0, exact: bool = True) -> Any:
    """A graph in onnxruntime.

    Args:
        graph: the file.
        threads: of the computation; 0 for one a core.
        exact: no sum of 8-bit products overflows, on processors without VNNI at the cost of speed.
    """
    try:  # an import outside of it would make the library a condition of loading any model by remote code
        import onnxruntime
    except ImportError as error:
        raise ValueError('an exported network needs onnxruntime: pip install "ser-meta[onnx]"') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = False  # which is a plan, with memory of its own, for each length of recordings
    options.add_session_config_entry("session.x64quantprecision", "1" if exact else "0")
    # threads that wait leave the core to others: several recordings may be heard at once
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


@torch.no_grad()
def graph_difference(model: "SerMetaModel", batch: Batch, graph: Path) -> float:
    """The largest difference of what a graph tells from what the model does, over all tasks and the true frames.

    Divided by the largest number that the model tells, where that is above 1: so much is rounding.
    """
    mask, *numbers = flat(model(**batch))
    largest = max(values.abs().max().item() for values in numbers)
    return difference(open_session(graph), batch, [mask, *numbers]) / max(1.0, largest)


def difference(session: Any, batch: Batch, expected: Sequence[torch.Tensor]) -> float:
    """The largest difference of what a session gives from what is expected: a frame mask, and then numbers.

    Infinite where one of them is no number.
    """
    mask, *numbers = expected
    _, *found = session.run(None, {name: tensor.numpy() for name, tensor in batch.items()})
    differences = []
    for values, wanted in zip(map(torch.from_numpy, found), numbers, strict=True):
        values, wanted = (x[:, : mask.shape[1]][mask] if x.dim() == 3 else x for x in (values, wanted))
        differences.append((values - wanted).abs().nan_to_num(nan=torch.inf).max().item())
    return max(differences)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's many remarks on its own workings tell a user nothing."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
