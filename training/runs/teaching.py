"""The teacher of a run: loaded, checked against its student, heard once, and compared with it at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas

from ...configuration.errors import UserError
from ...configuration.recipe import DistillationRecipe
from ...configuration.report import TeacherFacts
from ...configuration.run_folder import RunFolder
from ...hub_cards.hub.names import find_model
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor
from ..batches.augmentation import SpeedPerturbation
from ..batches.collator import SpeechCollator
from ..batches.frozen_states import FrozenStates, FrozenStatesCollator
from ..batches.teacher_outputs import FRAMES, LAYERS, TaughtCollator, TeacherOutputs
from ..learning.distillation import Distillation, layers_to_learn
from ..machine.processes import processes, say
from ..measures.metrics import evaluate_predictions
from ..measures.statistics import paired_difference
from ..planning.starting import describe_start
from ..planning.teachers import UNLABELLED, has_frozen_encoder
from .judging import Judgement, predict_dataset
from .loading import load_model
from .preparation import Preparation

FIGURES = ("wa", "ua", "macro_f1", "n")


@dataclass
class Teaching:
    """What a student learns from its teacher.

    Args:
        prepared: of the student's run.
        teacher, processor: the teacher's.
        folder: where what the teacher says is kept.
    """

    prepared: Preparation
    teacher: SerMetaModel
    processor: SerMetaProcessor
    folder: Path

    @property
    def taught(self) -> DistillationRecipe:
        """What is learned, and how strongly."""
        return self.prepared.recipe.distillation

    def losses(self) -> Distillation:
        """Those of a stage."""
        target = self.teacher.config.target_task
        return Distillation(self.taught.loss_weights, self.taught.temperature, self.prepared.tasks, target)

    def collator(self, collator: SpeechCollator, student: SerMetaModel) -> TaughtCollator:
        """A student's batches with what its teacher says; what is not kept of that is computed here."""
        weights, prepared = self.taught.loss_weights, self.prepared
        kept: dict[str, Any] = {"tasks": self.tasks, "frames": bool(weights.get(FRAMES))}
        if weights.get(LAYERS):
            kept["layers"] = layers_to_learn(len(student.encoder.layers), len(self.teacher.encoder.layers))
        outputs = []
        for side in ("train", UNLABELLED):
            if rows := prepared.sides[side]:
                dataset, seconds = prepared.dataset.select(rows), [prepared.durations[row] for row in rows]
                heard_at = self._collators(side == UNLABELLED)
                outputs.append(TeacherOutputs(self.folder, self.teacher, heard_at, dataset, seconds, **kept))
                outputs[-1].prepare(prepared.recipe.data.speed_factors)
        return TaughtCollator(collator, outputs)

    def add_to(self, judgement: Judgement) -> None:
        """Adds to a student's judgement who taught it, and what it loses against the teacher on its test side."""
        prepared, taught, config = self.prepared, self.taught, self.teacher.config
        test, rows = prepared.side("test"), prepared.sides[UNLABELLED]
        judgement.report.teacher = facts = TeacherFacts(
            model=self.words,
            parameters=self.teacher.num_parameters(),
            heard=describe_start(taught.teacher, test["utterance_id"], trained=True),
            loss_weights=self.losses().weights,
            temperature=taught.temperature,
            unlabelled=len(rows),
            unlabelled_minutes=round(sum(prepared.durations[row] for row in rows) / 60, 1),
        )
        if prepared.test_fold is not None:
            collator = self._collators(unlabelled=False)(1.0).without_speed()
            judgement.teacher = predict_dataset(self.teacher, self.processor, test, collator)
            compare(facts, judgement.predictions["test"], judgement.teacher, config.tasks, config.target_task)

    def check(self, student: SerMetaModel) -> None:
        """Raises `UserError` where the teacher cannot teach what the recipe asks for."""
        recipe, weights, theirs = self.prepared.recipe, self.taught.loss_weights, self.teacher.config
        target, labels = recipe.model.target_task, self.prepared.tasks[recipe.model.target_task]["labels"]
        known = theirs.tasks[theirs.target_task]["labels"]
        framewise = [name for name in (FRAMES, LAYERS) if weights.get(name)]
        if (theirs.target_task, known) != (target, labels):
            raise UserError(
                f"the teacher tells {theirs.target_task} ({', '.join(known)}) and the student {target} "
                f"({', '.join(labels)}): give both the same, by data.label_map or model.labels"
            )
        if theirs.center_by:
            raise UserError(
                f"the teacher centres its states by {', '.join(theirs.center_by)}, which no student can learn: train "
                "one without model.center_by"
            )
        if framewise and not self._hear_alike:
            raise UserError(
                f"the teacher hears recordings with trim_decibels={self.processor.trim_decibels}, the student with "
                f"{recipe.data.trim_decibels}, so that their frames differ: set data.trim_decibels to the teacher's, "
                f"or distillation.loss_weights.{framewise[0]}=0"
            )
        if weights.get(LAYERS) and student.config.width != theirs.width:
            raise UserError(
                f"the student's layers are {student.config.width} wide and the teacher's {theirs.width}: set "
                f"distillation.loss_weights.{LAYERS}=0"
            )

    @property
    def tasks(self) -> list[str]:
        """The target, and the auxiliary tasks that both answer with the same labels, as far as they are learned."""
        weights, target = self.taught.loss_weights, self.teacher.config.target_task
        alike = [task for task in self.prepared.tasks if self._answer_alike(task)]
        return [task for task in alike if weights.get("target" if task == target else "tasks")]

    @property
    def words(self) -> str:
        """Which encoder the teacher has, and its name on the Hub."""
        config, name = self.teacher.config, self.taught.teacher
        of_hub = "" if Path(name).exists() else f"{name}: "
        return f"{of_hub}{config.speech_config.model_type}, {len(self.teacher.encoder.layers)} layers"

    def _answer_alike(self, task: str) -> bool:
        own, its = self.prepared.tasks[task], self.teacher.config.tasks.get(task)
        if its is None or own["kind"] != its["kind"]:
            return False
        if own["kind"] == "ctc":
            vocabularies = [one.tokenizer.get_vocab() for one in (self.prepared.processor, self.processor)]
            return vocabularies[0] == vocabularies[1] and self._hear_alike
        return all(own.get(key) == its.get(key) for key in ("labels", "range"))

    @property
    def _hear_alike(self) -> bool:
        return self.processor.trim_decibels == self.prepared.recipe.data.trim_decibels

    def _collators(self, unlabelled: bool) -> Callable[[float], SpeechCollator]:
        """What makes the teacher's inputs at a speed: recordings, or its states where other teachers have the same."""
        prepared, recipe = self.prepared, self.prepared.recipe
        shortest, depth = self.teacher.encoder.shortest_input, len(self.teacher.encoder.layers)

        def at(factor: float) -> SpeechCollator:
            return SpeechCollator(self.processor, self.teacher.config.tasks, SpeedPerturbation([factor], 0, shortest))

        if recipe.cache is None or not recipe.cache_layers or not has_frozen_encoder(recipe.distillation.teacher):
            return at
        apart = set(prepared.sides[UNLABELLED])
        rows = [row for row in prepared.short_rows() if (row in apart) == unlabelled]
        dataset, seconds = prepared.dataset.select(rows), [prepared.durations[row] for row in rows]
        kept = (recipe.cache, self.teacher, at(1.0), dataset, seconds, depth, recipe.cache_precision)
        states = FrozenStates(*kept)
        states.prepare(recipe.data.speed_factors)
        return lambda factor: FrozenStatesCollator(states, at(factor))


def find_teaching(prepared: Preparation, student: SerMetaModel, run: RunFolder) -> Teaching | None:
    """The teacher of a student's run; None for a run without one.

    Raises:
        UserError: the teacher cannot be loaded, or cannot teach what the recipe asks for.
    """
    recipe = prepared.recipe
    if recipe.distillation is None:
        return None
    teacher, processor = load_model(find_model(recipe.distillation.teacher).folder)
    folder = run.teacher if recipe.cache is None else Path(recipe.cache).expanduser()
    teaching = Teaching(prepared, teacher.to(processes().device), processor, folder)
    teaching.check(student)
    sizes = [f"{model.num_parameters():,} parameters" for model in (teacher, student)]
    say(f"the teacher: {teaching.words}, {sizes[0]}; the student: {sizes[1]}")
    return teaching


def compare(
    facts: TeacherFacts,
    student: pandas.DataFrame,
    teacher: pandas.DataFrame,
    tasks: Mapping[str, Mapping[str, Any]],
    target: str,
) -> None:
    """Sets in the facts what the student loses on the utterances of both tables, and how often both agree."""
    measures = evaluate_predictions(teacher, {target: tasks[target]})[target]
    facts.metrics = {name: measures[name] for name in FIGURES if name in measures}
    if tasks[target]["kind"] != "classification":
        return
    difference = paired_difference(student, teacher, target)
    facts.ua, facts.wa, facts.speakers = difference["ua"], difference["wa"], difference["speakers"]
    key = [name for name in ("utterance_id", "seed") if name in teacher]
    answers = [table.set_index(key)[f"{target}_predicted"].sort_index() for table in (student, teacher)]
    facts.agreement = float((answers[0].to_numpy() == answers[1].to_numpy()).mean())
