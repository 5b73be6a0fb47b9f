"""A trained model from its folder, without what only training needs."""

from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from ...configuration.errors import UserError
from ...hub_cards.hub.names import how_to_renew, read_model_config
from ...modeling_ser_meta import SerMetaModel, SerMetaProcessor


def load_model(folder: Path) -> tuple[SerMetaModel, SerMetaProcessor]:
    """A trained model and its processor.

    Raises:
        UserError: no such folder, another kind of model, or a damaged one.
    """
    read_model_config(folder)
    disable_progress_bar()
    try:
        model, loaded = SerMetaModel.from_pretrained(folder, output_loading_info=True)
        processor = SerMetaProcessor.from_pretrained(folder)
    except ImportError as error:  # of an adapter alone, without peft
        raise UserError(f"{folder} cannot be loaded: {error}") from error
    except Exception as error:  # what a damaged file raises depends on where it is damaged
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"{folder} cannot be loaded ({reason}): {how_to_renew(folder)}") from error
    _check_weights(folder, model, sorted(loaded["missing_keys"]))
    return model.eval(), processor


def _check_weights(folder: Path, model: SerMetaModel, missing: list[str]) -> None:
    """Refuses what Transformers loads with no more than a warning, and what would answer NaN to any recording."""
    if missing:
        raise UserError(
            f"{folder} lacks the weights {missing[0]} ({len(missing)} tensors), which its config.json asks for: "
            f"{how_to_renew(folder)}"
        )
    broken = [name for name, weights in model.named_parameters() if not weights.isfinite().all()]
    if broken:
        raise UserError(f"{folder} has weights that are no numbers ({broken[0]}): {how_to_renew(folder)}")
