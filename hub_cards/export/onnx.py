"""A trained model as a folder that runs on onnxruntime: the graph, the preprocessing facts, and a small runner."""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ...configuration.errors import UserError
from ...configuration.run_folder import make_folder, write_json
from ...modeling_ser_meta.features_ser_meta import export_facts
from ...modeling_ser_meta.graph_ser_meta import TOLERANCE, check_exportable, graph_difference, noise, write_graph
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor
from ..page.predictions_table import SHARES
from .int8 import quantize

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
| `model.onnx` | the graph: `{input}`, `attention_mask` of any size in, each task's logits and perhaps `familiar` out |
{beside}{quantized}| `preprocessing.json` | tasks, labels, sampling rate, and what the features are made with |
| `features.npz` | the tables of the features, where the encoder has them |
| `runner.py`, `*_ser_meta.py` | the program; it needs numpy, onnxruntime, soundfile, soxr, and `av` for M4A or WebM |

It guesses how listeners would perceive a voice, which is not what a person feels. Not for decisions on hiring, for
clinical use, or for surveillance. The model's own card and licence hold for this folder too.
"""
QUANTIZED = "model_quantized.onnx"  # as the Hub's repositories call it
QUANTIZED_ROW = """\
| `model_quantized.onnx` | the same in 8 bits, run where the processor has VNNI; one graph is enough, of either kind |
"""
BESIDE_ROW = """\
| `*.onnx.data` | the weights of the graph of that name, which must lie beside it |
"""
SHIPPED = (
    "audio_ser_meta.py",
    "segments_ser_meta.py",
    "sound_files_ser_meta.py",
    "windows_ser_meta.py",
)  # these of every model's files need numpy only


def export_onnx(model: SerMetaModel, processor: SerMetaProcessor, folder: Path, int8: bool = False) -> dict[str, Any]:
    """Writes the folder.

    The graph takes `(batch, time)` of any size, with its mask of true lengths, and gives `frame_mask` and each task's
    logits, as the model does on CPU.

    Args:
        model: a trained one.
        processor: the model's.
        folder: to write; must be new or empty.
        int8: write a second graph, `model_quantized.onnx`, with the products of the encoder's layers in 8 bits; the
            runner takes it where the processor gains by it.

    Returns:
        `difference`, the largest of the outputs of the last graph written from the model's on a padded batch of noise
        (see `graph_difference`), and `bytes` of that graph with its weights.

    Raises:
        UserError: a library is missing, the folder holds something, or the encoder's family cannot be exported.
    """
    require_exportable(model)
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
        make_folder(folder)
        for part in Path(scratch).iterdir():  # where the weights are too large for the graph they lie beside it
            shutil.copy(part, folder)
        if int8:
            graph = folder / QUANTIZED
            quantize(folder / "model.onnx", graph)
            difference = graph_difference(model, batch, graph)
    _write_facts(model, processor, folder, int8)
    _write_runner(folder)
    return {"difference": difference, "bytes": sum(part.stat().st_size for part in folder.glob(f"{graph.name}*"))}


def require_exportable(model: SerMetaModel) -> None:
    """Raises `UserError` where a library is missing, or the encoder's family cannot be exported."""
    try:
        check_exportable(model)
    except ValueError as error:
        raise UserError(str(error)) from error


def _check_folder(folder: Path) -> None:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty: choose another --output")


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
        "label_shares": config.label_shares,
        "familiarity": config.familiarity,
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
        weights="32 bits, and once more 8 bits in the encoder's layers" if int8 else "32 bits",
        quantized=QUANTIZED_ROW if int8 else "",
        beside=BESIDE_ROW if any(folder.glob("*.data")) else "",
        tasks=", ".join(f"`{name}`" for name in told),
        rate=processor.sampling_rate,
        input=facts["input"],
        scores=_scores_words(config),
    )
    (folder / "README.md").write_text(readme, encoding="utf-8")


def _scores_words(config: Any) -> str:
    """What is to be known of scores that are no chances of a single right answer, and of when not to trust them."""
    told = ""
    if config.tasks[config.target_task]["kind"] == "multilabel":
        told = f" A recording may have several labels of {config.target_task} at once: those that are `present`."
    elif config.scores_are_shares:
        told = f"\n{SHARES}"
    if config.familiarity is not None:
        least = f"{config.familiarity['threshold']:g}"
        told += (
            "\n\n`--least-familiar 0` tells how `familiar` a recording is, from 0, unlike all that the model has "
            f"learned from, to 1. With `--least-familiar {least}` it abstains from what is less familiar."
        )
    return told


def _write_runner(folder: Path) -> None:
    here = Path(__file__).parent
    shutil.copy(here / "runner.py", folder)
    for name in SHIPPED:
        code = (here.parents[1] / "modeling_ser_meta" / name).read_text(encoding="utf-8")
        # in the folder they are no package
        (folder / name).write_text(re.sub(r"^from \.(\w)", r"from \1", code, flags=re.MULTILINE), encoding="utf-8")
    (folder / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")
