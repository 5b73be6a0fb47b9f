"""How a run begins: with everything checked, and its folder made and held."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

from ...configuration.errors import UserError
from ...configuration.idle_settings import idle_settings
from ...configuration.recipe import Recipe
from ...configuration.run_folder import RunFolder, full_disk_told
from ...modeling_ser_meta.audio_ser_meta import recording_name
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ..corpora.recordings import recordings
from ..learning.adapters import check_adapter
from ..learning.freezing import frozen_as_in
from ..learning.memory import check_plan, plan_stage
from ..machine.interruption import leaving_on_signals
from ..machine.precision import choose_precision
from ..machine.processes import hide_loading_bars, is_main_process, processes, say, wait_for_all_processes
from ..machine.sharing import require_shared
from ..machine.torchaudio_build import check_resampler
from ..machine.trackers import check_trackers
from ..planning.corpus_record import corpus_record
from ..planning.durations import check_durations, check_longest, longest_input
from ..planning.plan import Plan
from ..planning.sides import describe_sides, describe_unused_sides
from ..planning.starting import describe_parts, heard_by
from ..planning.teachers import taught
from .preparation import Preparation, prepare
from .teaching import Teaching, find_teaching


@contextmanager
def begun(
    recipe: Recipe, run: RunFolder, resume: bool, wait: bool = False, plan: Plan | None = None
) -> Iterator[tuple[Preparation, SerMetaModel, Teaching | None]]:
    """Checks all that can be checked before anything is written, and makes and holds the run folder.

    Returns:
        what the run is made of, its model, and of a student its teacher.
    """
    recipe = taught(recipe)
    with leaving_on_signals(), full_disk_told(run.path):
        run.check(recipe, resume)
        check_trackers(recipe.report_to)
        check_resampler(recipe.data.resampler)
        recipe = replace(recipe, precision=choose_precision(recipe.precision, run.recorded_precision))
        prepared, model, told = _prepared(recipe, plan)
        teaching = find_teaching(prepared, model, run)
        told += _memory_plans(prepared, model, teaching)
        split, corpus = prepared.utterances(), corpus_record(prepared.dataset, recipe)
        run.check_corpus(split, corpus)
        wait_for_all_processes()  # until then another process may still look whether the folder is empty
        with run.held(wait) if is_main_process() else nullcontext():
            if is_main_process():
                run.check(recipe, resume)  # another training may have come first
                run.create(recipe, split, corpus)
                if prepared.new_parts is not None:
                    run.record_heard_before(heard_by(recipe.model.encoder))
            wait_for_all_processes()
            require_shared(run.recipe, "--output")
            say("\n".join([*told, *announcement(prepared)]))
            yield prepared, model, teaching


def _prepared(recipe: Recipe, plan: Plan | None) -> tuple[Preparation, SerMetaModel, list[str]]:
    """What a run is made of, its model, and what is to be told of them."""
    hide_loading_bars()
    prepared = prepare(recipe, plan)
    model = prepared.new_model().to(processes().device)
    check_durations(
        prepared.dataset, prepared.durations, model.encoder.shortest_input, prepared.processor.sampling_rate
    )
    if (longest := longest_input(model, prepared.processor)) is not None:
        check_longest(
            prepared.dataset, prepared.durations, prepared.sides["train"], longest, min(recipe.data.speed_factors)
        )
    _check_freezing(recipe, len(model.encoder.layers))
    if recipe.model.adapter is not None:
        check_adapter(model, prepared.processor, recipe.stages.values())
    idle = [
        f"model.{setting}={getattr(recipe.model, setting)} changes nothing: {why}"
        for setting, why in idle_settings(recipe.model).items()
    ]
    return prepared, model, idle


def announcement(prepared: Preparation) -> list[str]:
    """Who is tested, which sides of the corpus are passed over, and what is new in a trained model: a line each."""
    data, encoder = prepared.recipe.data, prepared.recipe.model.encoder
    lines = [
        describe_sides(prepared.dataset, prepared.sides, prepared.test_fold, data.test_fold),
        describe_unused_sides(prepared.dataset, data.folds),
        None if prepared.new_parts is None else describe_parts(encoder, prepared.new_parts),
    ]
    return [line for line in lines if line is not None]


def _memory_plans(prepared: Preparation, model: SerMetaModel, teaching: Teaching | None) -> list[str]:
    """What each stage's batches take of the memory; refuses a recording that decides it alone."""
    recipe, seconds = prepared.recipe, prepared.durations_of("train")
    plans = {}
    for name, stage in recipe.stages.items():
        with frozen_as_in(model, stage, teaching.tasks if teaching else ()):
            plans[name] = plan_stage(recipe, stage, model, prepared.processor, seconds)
    names = [recording_name(recording) for recording in recordings(prepared.side("train"))]
    loosest = max(plans.values(), key=lambda plan: plan.longest_alone)
    check_plan(recipe, loosest, names, seconds)
    return [f"stage {name}: {plan.words(model.device)}" for name, plan in plans.items()]


def _check_freezing(recipe: Recipe, layers: int) -> None:
    for name, stage in recipe.stages.items():
        if isinstance(stage.freeze_layers, int) and stage.freeze_layers > layers:
            raise UserError(
                f"stages.{name}.freeze_layers={stage.freeze_layers} is more than the encoder's {layers} layers: "
                "choose fewer, third or all"
            )
