"""A trained model judged on other speech."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..configuration.errors import UserError
from ..configuration.recipe_files import read_settings
from ..configuration.run_folder import read_json
from .centering import CenteringCollator, centering_protocol, group_means
from .collator import SpeechCollator
from .corpora import load_rows
from .corpora.mixture import scale_ratings, value_ranges
from .corpora.recordings import require_recordings
from .durations import check_durations, recording_durations
from .environment import environment
from .folds import read
from .judgement import predict_dataset, report_on
from .loading import load_model
from .speakers import NOT_KNOWN, speaker_facts, speakers_not_known


def evaluate_model(
    folder: Path, corpus: str, root: str, options: list[str], split: Path | None, side: str
) -> dict[str, Any]:
    """Judges a model on a corpus, or on one side of a run's split.

    Returns:
        the report: metrics, slices, and what they were measured on.
    """
    model, processor = load_model(folder)
    rows = load_rows(corpus, root, **OmegaConf.to_container(read_settings(options)))
    require_recordings(rows, corpus)
    dataset = scale_ratings(rows, corpus, value_ranges(model.config.tasks)).dataset()
    whole, speakers = dataset, speakers_not_known(read(dataset, "speaker"))
    if split is not None:
        dataset, speakers = _side(whole, split, side), _speakers_of_side(whole, split, side)
    durations = recording_durations(dataset)
    check_durations(dataset, durations, model.encoder.shortest_input, processor.sampling_rate)
    collator = SpeechCollator(processor, model.config.tasks)
    if columns := model.config.center_by:
        collator = CenteringCollator(collator, columns, group_means(model, collator, dataset))
    predictions = predict_dataset(model, processor, dataset, collator)
    return {
        "speakers": speakers,
        **report_on(
            predictions, model.config.tasks, model.config.target_task, not_judged=None if split else NOT_KNOWN
        ),
        "protocol": {
            "corpus": corpus,
            "side": side if split else "all utterances",
            **centering_protocol(model.config.center_by),
        },
        "sides": {"test": len(dataset)},
        "versions": environment(),
    }


def read_side(split: Path, side: str) -> set[str]:
    """The utterances of a side of a run's split; `UserError` for a file that is none, and a side that it lacks."""
    if not split.is_file():
        raise UserError(f"--split {split} is no file: give a run's split.json")
    sides = read_json(split)
    if not isinstance(sides, dict):
        raise UserError(f"--split {split} holds no sides: give a run's split.json")
    if side not in sides:
        raise UserError(f"--side {side} is not in {split}: it has {', '.join(sides)}")
    if not isinstance(sides[side], list) or not all(isinstance(name, str) for name in sides[side]):
        raise UserError(f"--split {split} holds no list of utterances for {side}: give a run's split.json")
    return set(sides[side])


def _speakers_of_side(dataset: Any, split: Path, side: str) -> dict[str, Any]:
    """Who of a side was trained on; the speaker of an utterance of the split that the corpus lacks is not known."""
    speaker_of = dict(zip(dataset["utterance_id"], read(dataset, "speaker"), strict=True))
    names = {name: read_side(split, name) for name in ("train", "validation", side)}
    train, validation = ([speaker_of.get(name) for name in names[other]] for other in ("train", "validation"))
    judged = names[side] & set(speaker_of)
    repeated = len(judged & names["train"])
    return speaker_facts(
        [speaker_of[name] for name in judged], train, validation if side != "validation" else (), repeated
    )


def _side(dataset: Any, split: Path, side: str) -> Any:
    wanted = read_side(split, side)
    rows = [row for row, utterance in enumerate(dataset["utterance_id"]) if utterance in wanted]
    if not rows:
        raise UserError(f"the corpus has no utterance of the side {side} of {split}: give the corpus it was made from")
    return dataset.select(rows)
