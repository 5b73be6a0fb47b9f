"""Writes the tiny model of a release, with what it answers, for `tests/test_saved_models.py`.

Once a release, before it is tagged: python tests/support/save_release.py tests/models/0.2
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from tiny_model import save_tiny_encoder

from ser_meta.modeling_ser_meta import SerMetaModel, SerMetaProcessor, SpeechEmotionPipeline

TASKS = {
    "emotion": {"labels": ["neutral", "happy", "sad"]},
    "gender": {"labels": ["female", "male"]},
    "transcript": {"kind": "ctc"},
    "valence": {"kind": "regression", "range": [1, 5]},
}
SIZES = {"hidden_size": 8, "intermediate_size": 16, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}


def recordings() -> list[np.ndarray]:
    """Two recordings `(samples,)` at 16 kHz that are the same on every machine and with every version."""
    time = np.arange(4_800) / 16_000
    tone = 0.3 * np.sin(2 * np.pi * 220 * time) * (1 - time)
    return [tone.astype(np.float32), tone[::-2].astype(np.float32)]


def answers(model: SerMetaModel, processor: SerMetaProcessor) -> dict:
    """What a model says of them: logits by task, a batch; and the pipeline's result for the first."""
    with torch.no_grad():
        output = model(**processor(recordings(), sampling_rate=16_000))
    logits = {name: values.tolist() for name, values in output.task_logits.items()}
    recognise = SpeechEmotionPipeline(model=model, processor=processor, device="cpu")
    return {"logits": logits, "result": recognise({"array": recordings()[0], "sampling_rate": 16_000})}


def save(folder: Path) -> None:
    """Writes weights, config, processor and `answers.json`; the shipped code is this repository's, and stays here."""
    encoder = save_tiny_encoder(folder / "encoder", do_normalize=True, **SIZES)
    options = {"head_hidden_size": 4, "classifier_hidden_size": 4, "coattention_heads": 2, "initializer_range": 0.5}
    model = SerMetaModel.from_backbone_pretrained(str(encoder), TASKS, calibration_temperature=1.5, **options).eval()
    processor = SerMetaProcessor.from_backbone_pretrained(str(encoder), trim_decibels=40)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    for path in [*encoder.iterdir(), *folder.glob("*.py")]:
        path.unlink()
    encoder.rmdir()
    (folder / "answers.json").write_text(json.dumps(answers(model, processor)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    save(Path(sys.argv[1]))
