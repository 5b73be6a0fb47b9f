"""A trained model from its folder, without what only training needs."""

import json
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from ..configuration.errors import UserError
from ..modeling_ser_meta import SerMetaModel, SerMetaProcessor


def load_model(folder: Path) -> tuple[SerMetaModel, SerMetaProcessor]:
    """A trained model and its processor.

    Raises:
        UserError: no such folder, or another kind of model.
    """
    config = Path(folder) / "config.json"
    if not config.is_file():
        raise UserError(f"{folder} holds no model: give the `model` folder of a run")
    model_type = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    if model_type != "ser_meta":
        raise UserError(
            f"{folder} holds a model of the type {model_type!r}, not ser_meta: train one with it as encoder"
        )
    disable_progress_bar()
    return SerMetaModel.from_pretrained(folder).eval(), SerMetaProcessor.from_pretrained(folder)
