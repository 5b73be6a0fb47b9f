"""A trained model as a folder that runs on onnxruntime: the graph, the preprocessing facts, and a small runner."""

import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...configuration.errors import UserError
from ...configuration.run_folder import write_json
from ...modeling_ser_meta.encoder_ser_meta import EncoderOutput, Wav2Vec2BertFrames, WhisperFrames
from ...modeling_ser_meta.features_ser_meta import export_facts
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel, SerMetaOutput
from ...modeling_ser_meta.padding_ser_meta import mask_of
from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor
from .int8 import quantize

OPSET = 18
TOLERANCE = 1e-4  # of the graph's logits against the model's
NEEDED = ("onnx", "onnxscript", "onnxruntime")
REQUIREMENTS = "numpy>=1.26\nonnxruntime>=1.20\nsoundfile>=0.13\nsoxr>=0.5\n"
README = """# {target} in speech, without torch

A ser-meta model for onnxruntime: the graph with its weights ({weights}), and a small program that runs it.

```bash
pip install -r requirements.txt
python runner.py recording.wav          # one JSON object a recording
python runner.py calls/ --threshold 0.5 # a folder; results of a lower score are marked as abstained
```

In Python, with this folder on the path:

```python
from runner import Recognizer

recognise = Recognizer()
recognise("recording.wav")
recognise({{"path": "call.wav", "channel": "left", "start": 12.5, "end": 20}})
for result in recognise.many(["a.wav", "b.wav"]):
    print(result)
```

It answers with {tasks}. A recording of more than 15 s is cut at its pauses, and has `segments` with their times in
seconds. Any sampling rate and number of channels will do; the model itself hears {rate} Hz, one channel.{scores}

| file | what it is |
|---|---|
| `model.onnx` | the graph: `{input}` and `attention_mask` of any size in, each task's logits out |
| `preprocessing.json` | tasks, labels, sampling rate, and what the features are made with |
| `features.npz` | the tables of the features, where the encoder has them |
| `runner.py`, `*_ser_meta.py` | the program; it needs numpy, onnxruntime, soundfile, soxr, and `av` for M4A or WebM |

It guesses how listeners would perceive a voice, which is not what a person feels. Not for decisions on hiring, for
clinical use, or for surveillance. The model's own card and licence hold for this folder too.
"""
SHIPPED = (
    "audio_ser_meta.py",
    "segments_ser_meta.py",
    "sound_files_ser_meta.py",
    "windows_ser_meta.py",
)  # these of every model's files need numpy only
NO_GRAPH = "no graph is written for it yet"
PAIRS = "it averages frames in pairs, and the exporter cannot follow lengths that depend on the recording's"
CANNOT = {
    **dict.fromkeys(("sew", "sew-d"), PAIRS),
    **dict.fromkeys(("moonshine", "parakeet_encoder", "fun_asr_nano_encoder"), NO_GRAPH),
}


def export_onnx(model: SerMetaModel, processor: SerMetaProcessor, folder: Path, int8: bool = False) -> dict[str, Any]:
    """Writes the folder.

    The graph takes `(batch, time)` of any size, with its mask of true lengths, and gives `frame_mask` and each task's
    logits, as the model does on CPU.

    Args:
        model: a trained one.
        processor: the model's.
        folder: to write; must be new or empty.
        int8: compute the matrix products of the encoder's layers in 8 bits, except those of the first ones.

    Returns:
        `difference`, the largest of the graph's logits from the model's on a padded batch of noise, and `bytes` of the
        graph with its weights.

    Raises:
        UserError: a library is missing, the folder holds something, or the encoder's family cannot be exported.
    """
    check_exportable(model)
    _check_folder(folder)
    model = model.float().eval()
    batch = noise(processor)
    with tempfile.TemporaryDirectory() as scratch:
        graph = Path(scratch) / "model.onnx"
        write_graph(model, batch, graph)
        difference = graph_difference(model, batch, graph)
        if difference > TOLERANCE:
            raise UserError(
                f"the graph's logits differ from the model's by {difference:.2g}, more than {TOLERANCE:g}: nothing is "
                "written; run the model with torch"
            )
        if int8:
            quantize(graph)
            difference = graph_difference(model, batch, graph)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(graph, folder)
    _write_facts(model, processor, folder, int8)
    _write_runner(folder)
    return {"difference": difference, "bytes": (folder / "model.onnx").stat().st_size}


class ExportedGraph(nn.Module):
    """A model without the branches that depend on the recordings: every batch counts as padded."""

    def __init__(self, model: SerMetaModel):
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """From the encoder's input and its mask to `frame_mask` and each task's logits, in the config's order."""
        encoded = _encode(self.model.encoder, inputs, attention_mask)
        states = torch.stack(encoded.hidden_states, dim=1)
        return _flat(self.model(layer_states=states, attention_mask=encoded.frame_mask))


@torch.no_grad()
def graph_difference(model: SerMetaModel, batch: dict[str, torch.Tensor], graph: Path) -> float:
    """The largest difference of a graph's logits from the model's, over all tasks and the true frames."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # no sum overflows
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    mask, *expected = _flat(model(**batch))
    _, *found = session.run(None, {name: tensor.numpy() for name, tensor in batch.items()})
    differences = []
    for logits, wanted in zip(map(torch.from_numpy, found), expected, strict=True):
        logits, wanted = (x[:, : mask.shape[1]][mask] if x.dim() == 3 else x for x in (logits, wanted))
        differences.append((logits - wanted).abs().max().item())
    return max(differences)


def check_exportable(model: SerMetaModel) -> None:
    """Raises `UserError` where a library is missing, or the encoder's family cannot be exported."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f'exporting needs {", ".join(missing)}: pip install "ser-meta[onnx]"')
    family = model.config.speech_config.model_type
    if family in CANNOT or model.config.encoder_frames is not None:
        why = CANNOT.get(family, NO_GRAPH)
        raise UserError(f"a model with a {family} encoder cannot be exported: {why}; run it with torch")


def _check_folder(folder: Path) -> None:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty: choose another --output")


def _flat(output: SerMetaOutput) -> tuple[torch.Tensor, ...]:
    return output.frame_mask, *output.task_logits.values()


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


def noise(processor: SerMetaProcessor) -> dict[str, torch.Tensor]:
    """A padded batch of two recordings: what the graph is traced with, and first compared on."""
    rate, chance = processor.sampling_rate, np.random.default_rng(0)
    recordings = [chance.normal(scale=0.1, size=int(seconds * rate)).astype(np.float32) for seconds in (1.0, 0.7)]
    return dict(processor(recordings, sampling_rate=rate))


@torch.no_grad()
def write_graph(model: SerMetaModel, batch: dict[str, torch.Tensor], path: Path) -> None:
    """Writes a model's graph, traced with a batch, with its weights in the one file."""
    name, any_size = model.encoder.input_name, torch.export.Dim.DYNAMIC
    time = 1 if isinstance(model.encoder, Wav2Vec2BertFrames) else batch[name].dim() - 1
    with _quiet():
        torch.onnx.export(
            ExportedGraph(model),
            (batch[name], batch["attention_mask"]),
            path,
            input_names=[name, "attention_mask"],
            output_names=["frame_mask", *(f"{task}_logits" for task in model.config.tasks)],
            dynamic_shapes=({0: any_size, time: any_size}, {0: any_size, 1: any_size}),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


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


def _write_facts(model: SerMetaModel, processor: SerMetaProcessor, folder: Path, int8: bool) -> None:
    config, tokenizer = model.config, processor.tokenizer
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    features, tables = export_facts(processor.feature_extractor)
    facts = {
        "encoder": config.speech_config.model_type,
        "weights": "int8" if int8 else "float32",
        "input": model.encoder.input_name,
        "sampling_rate": processor.sampling_rate,
        "features": features,
        "trim_decibels": processor.trim_decibels,
        "shortest_input": max(1, model.encoder.shortest_input),
        "target_task": config.target_task,
        "calibration_temperature": config.calibration_temperature,
        "tasks": config.tasks,
        "characters": {
            "vocabulary": vocabulary,
            "blank": tokenizer.pad_token_id,
            "unknown": tokenizer.unk_token_id,
            "word_boundary": tokenizer.word_delimiter_token,
        },
    }
    write_json(folder / "preprocessing.json", facts)
    if tables:
        np.savez(folder / "features.npz", **tables)
    told = [config.target_task, *(name for name in config.reported_tasks if name != config.target_task)]
    readme = README.format(
        target=config.target_task.capitalize(),
        weights="8 bits in the encoder's upper layers" if int8 else "32 bits",
        tasks=", ".join(f"`{name}`" for name in told),
        rate=processor.sampling_rate,
        input=facts["input"],
        scores=_scores_words(config),
    )
    (folder / "README.md").write_text(readme, encoding="utf-8")


def _scores_words(config: Any) -> str:
    """What is to be known of scores that are no chances of a single right answer."""
    if config.tasks[config.target_task]["kind"] == "multilabel":
        return f" A recording may have several labels of {config.target_task} at once: those that are `present`."
    if config.scores_are_shares:
        return "\nPeople disagree about voices: a score is the share of listeners that the model expects to say so."
    return ""


def _write_runner(folder: Path) -> None:
    here = Path(__file__).parent
    shutil.copy(here / "runner.py", folder)
    for name in SHIPPED:
        code = (here.parents[1] / "modeling_ser_meta" / name).read_text(encoding="utf-8")
        # in the folder they are no package
        (folder / name).write_text(re.sub(r"^from \.(\w)", r"from \1", code, flags=re.MULTILINE), encoding="utf-8")
    (folder / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
