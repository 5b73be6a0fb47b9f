"""What of a model is published: its weights and settings without the answers that would tell its speakers apart."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...configuration.run_folder import read_json
from .names import CONFIG, read_model_config

CODE = Path(__file__).parents[2] / "modeling_ser_meta"
REQUIREMENTS = "transformers>=4.57.6,<6\nsoundfile>=0.13\nsoxr>=0.5\n"  # of handler.py, beside torch


def published_files(folder: Path, names: list[str]) -> dict[str, bytes | Path]:
    """By path in the repository, what is sent of a model beside its folder's files, or in their place.

    Args:
        folder: of the model.
        names: of the tasks whose answers stay here.
    """
    here = Path(__file__).parent
    files: dict[str, bytes | Path] = {"handler.py": here / "handler.py", "requirements.txt": REQUIREMENTS.encode()}
    files |= {path.name: path for path in sorted(CODE.glob("*_ser_meta.py"))}  # also of a model of an older version
    config = read_model_config(folder)
    if config.get("base_encoder"):
        files["requirements.txt"] = f"{REQUIREMENTS}peft>=0.18\n".encode()
    if names:
        files[CONFIG] = _as_json(without_answers(config, names))
        files |= _weights(folder, config, names)
    return files


def unspoken_tasks(config: Mapping[str, Any]) -> list[str]:
    """The tasks with labels that predictions do not show, such as `speaker`: whom they name is nobody's business."""
    target = config["target_task"]
    return [
        name
        for name, task in config["tasks"].items()
        if name != target and task.get("labels") and not task["reported"]
    ]


def without_answers(config: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """A model's config without the labels of these tasks.

    What a head hides in its middle stays where the co-attention reads it, and the target's answer is then the same to
    the bit; without co-attention nothing of the head is needed.
    """
    order = config.get("task_order") or list(config["tasks"])
    attends = config.get("coattention", True)
    return {
        **config,
        "tasks": {name: task for name, task in config["tasks"].items() if name not in names},
        "task_order": [name for name in order if attends or name not in names],
        "hidden_tasks": [*config.get("hidden_tasks", []), *(names if attends else [])],
    }


def _weights(folder: Path, config: Mapping[str, Any], names: list[str]) -> dict[str, bytes]:
    """By name, the files of weights that are other without the answers of these tasks."""
    from safetensors import safe_open
    from safetensors.torch import save

    part = "classifier." if config.get("coattention", True) else ""
    dropped = tuple(f"heads.{name}.{part}" for name in names)
    changed = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            kept = [name for name in weights.keys() if not name.startswith(dropped)]  # noqa: SIM118
            if len(kept) < len(weights.keys()):
                tensors = {name: weights.get_tensor(name) for name in kept}
                changed[path.name] = save(tensors, metadata=weights.metadata())
    for path in folder.glob("*.safetensors.index.json"):
        index = read_json(path)
        weights = index["weight_map"]
        changed[path.name] = _as_json(
            {**index, "weight_map": {name: weights[name] for name in weights if not name.startswith(dropped)}}
        )
    return changed


def _as_json(value: Mapping[str, Any]) -> bytes:
    """As Transformers writes its settings."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
