"""A trained model judged on other speech, or again on its own test side."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from ...configuration.protocol import Protocol
from ...configuration.report import Report, Speakers
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ..batches.collator import SpeechCollator
from ..batches.group_means import CenteringCollator, describe_centering, group_means
from ..batches.long_recordings import describe_pieces
from ..corpora.mixture import corpora_words, label_maps
from ..corpora.rows import Rows
from ..machine.environment import environment
from ..machine.processes import processes
from ..measures.conditions import found_in_conditions
from ..planning.durations import check_durations, recording_durations
from ..planning.evaluation import Evaluation, foreign_labels, foreign_words, on_side, read_side
from ..planning.folds import read
from ..planning.sides import describe_styles
from ..planning.speakers import NOT_KNOWN, speaker_facts, speakers_not_known
from ..planning.starting import heard_again, heard_by
from .judging import predict_dataset, predict_in_conditions, report_on
from .loading import load_model


def evaluate_model(evaluation: Evaluation) -> Report:
    """Judges a model on corpora, or on one side of a run's split; `find_evaluation` says on what.

    Returns:
        the report: metrics, slices, and what they were measured on. An auxiliary task whose labels are not the
        model's is not judged.
    """
    model, processor = load_model(evaluation.model)
    model = model.to(processes().device)
    tasks, target = model.config.tasks, model.config.target_task
    whole, split, side = evaluation.rows, evaluation.split, evaluation.side
    rows, speakers = whole, _speakers_of_all(whole, evaluation.model)
    if split is not None:
        rows, speakers = on_side(whole, split, side), _speakers_of_side(whole, split, side)
    foreign = foreign_labels(rows, tasks)
    rows = rows.with_columns({name: [None] * len(rows) for name in foreign if tasks[name]["kind"] == "regression"})
    dataset = rows.dataset()
    durations = recording_durations(dataset)
    check_durations(dataset, durations, model.encoder.shortest_input, processor.sampling_rate)
    collator = _collator(model, processor, whole, dataset)
    predictions = predict_dataset(model, processor, dataset, collator)
    degraded = predict_in_conditions(evaluation.degraded, model, processor, dataset, collator)
    not_judged = {} if split else dict(NOT_KNOWN)
    not_judged |= {name: foreign_words(name, labels, tasks[name]) for name, labels in foreign.items()}
    return Report(
        target=target,
        protocol=_protocol(evaluation, rows, model, durations),
        speakers=speakers,
        **vars(report_on(predictions, tasks, target, not_judged=not_judged)),
        sides={"test": len(dataset)},
        degraded={} if degraded is None else found_in_conditions(predictions, degraded, tasks, target),
        versions=environment(),
    )


def _speakers_of_all(rows: Rows, model: Path) -> Speakers:
    """What is known of a corpus's speakers, and how many utterances the model's run, if it is here, learned from."""
    again = heard_again(heard_by(str(model)) or (), rows["utterance_id"])
    return replace(speakers_not_known(read(rows, "speaker")), repeated=len(again))


def _speakers_of_side(rows: Rows, split: Path, side: str) -> Speakers:
    """Who of a side was trained on; the speaker of an utterance of the split that the corpus lacks is not known."""
    speaker_of = dict(zip(rows["utterance_id"], read(rows, "speaker"), strict=True))
    names = {name: read_side(split, name) for name in ("train", "validation", side)}
    train, validation = ([speaker_of.get(name) for name in names[other]] for other in ("train", "validation"))
    judged = names[side] & set(speaker_of)
    repeated = len(judged & names["train"])
    return speaker_facts(
        [speaker_of[name] for name in judged], train, validation if side != "validation" else (), repeated
    )


def _collator(model: SerMetaModel, processor: Any, corpus: Rows, judged: Dataset) -> SpeechCollator:
    """Centred as in a run: by all recordings of the corpus that are of the same speaker, or whatever it is."""
    collator = SpeechCollator(processor, model.config.tasks)
    columns = model.config.center_by
    if not columns:
        return collator
    if set(columns) <= set(judged.column_names):  # or else it is refused for want of them
        groups = set(zip(*(judged[column] for column in columns), strict=True))
        of_corpus = zip(*(corpus[column] for column in columns), strict=True)
        judged = corpus.select([row for row, group in enumerate(of_corpus) if group in groups]).dataset()
    return CenteringCollator(collator, columns, group_means(model, collator, judged))


def _protocol(evaluation: Evaluation, rows: Rows, model: SerMetaModel, durations: list[float]) -> Protocol:
    return Protocol(
        corpus=corpora_words(evaluation.sources),
        label_map=label_maps(evaluation.sources),
        left_out=dict(rows.remarks.get("left out", {})),
        allow_speaker_overlap=False,  # whom the model has heard is told of the speakers
        longest=None,
        styles=describe_styles(None, rows),
        searched=None,
        side=evaluation.side if evaluation.split else "all utterances",
        long_recordings=describe_pieces(durations),
        states_centred_by=describe_centering(model.config.center_by),
    )
