import json

import numpy as np
import pandas
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.report import read_report
from ser_meta.configuration.study_report import read_study_report
from ser_meta.modeling_ser_meta import SerMetaModel
from ser_meta.training.measures.statistics import paired_difference
from ser_meta.training.runs.loading import load_model
from ser_meta.training.runs.preparation import prepare
from ser_meta.training.runs.stages import first_stage_recipe, run_stages, train_first_stage
from ser_meta.training.studies.crossval import cross_validate


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory):
    """Three recordings that are none of the corpus's."""
    folder = tmp_path_factory.mktemp("unlabelled")
    for number in range(3):
        noise = np.random.default_rng(number).normal(size=6_000) * 0.1
        soundfile.write(folder / f"{number}.wav", noise, 16_000)
    return folder


@pytest.fixture(scope="module")
def small(unlabelled):
    """Settings of a student with all losses: two layers, narrower inside, and recordings without labels."""
    return [
        f"distillation.unlabelled={unlabelled}",
        "distillation.loss_weights.layers=0.5",
        "model.encoder=teacher",
        "model.encoder_layers=2",
        "model.narrow={intermediate_size: 24}",
        "stages.metadata=null",
        "stages.emotion.freeze_layers=0",
        "stages.emotion.epochs=1",
        "data.speed_factors=[1.0]",
    ]


@pytest.fixture(scope="module")
def student(tmp_path_factory, recipe_file, finished_run, small):
    folder = tmp_path_factory.mktemp("students") / "small"
    run_stages(load_recipe(str(recipe_file), [f"distillation.teacher={finished_run}", *small]), folder)
    return folder


def test_a_student_is_a_smaller_ordinary_model(student, finished_run):
    model, processor = load_model(student / "model")
    teacher, _ = load_model(finished_run / "model")
    assert len(model.encoder.layers) == 2 and model.config.speech_config.intermediate_size == 24
    assert model.num_parameters() < teacher.num_parameters() / 2
    answers = model(**processor([np.zeros(8_000, np.float32)], sampling_rate=16_000))
    assert answers.logits.shape == (1, 3) and list(answers.task_logits) == list(teacher.config.tasks)
    assert read_report(student / "report.json").sides == {"train": 24, "validation": 0, "test": 12, "unlabelled": 3}


def test_all_losses_are_in_the_log_and_add_up(student):
    (stage,) = json.loads((student / "state.json").read_text()).values()
    taught = {"target": 1.0, "tasks": 0.3, "frames": 1.0, "layers": 0.5}
    logs = [entry for entry in stage["log"] if "loss" in entry]
    assert len(logs) == 7  # 24 with labels and 3 without, in batches of 4
    for entry in logs:
        of_labels = sum(weight * entry[f"loss_{task}"] for task, weight in stage["loss_weights"].items())
        of_teacher = sum(weight * entry[f"loss_teacher_{name}"] for name, weight in taught.items())
        assert of_teacher > 0 and entry["loss"] == pytest.approx(of_labels + of_teacher, abs=1e-3)


def test_report_and_card_tell_the_teacher_and_what_is_lost(student, finished_run):
    facts = read_report(student / "report.json").teacher
    own, its = (pandas.read_parquet(folder / "predictions.parquet") for folder in (student, finished_run))
    assert facts.ua == paired_difference(own, its, "emotion")["ua"]
    assert facts.metrics["ua"] == read_report(finished_run / "report.json").metrics["emotion"]["ua"]
    assert facts.agreement == (own["emotion_predicted"] == its["emotion_predicted"]).mean()
    assert (facts.unlabelled, facts.heard) == (3, "a model that was trained on none of the test utterances")
    card = (student / "model" / "README.md").read_text()
    assert "student of a teacher (wav2vec2, 6 layers, " in card and "and from 3 recordings without labels" in card
    assert f"the teacher has a UA of {facts.metrics['ua']:.1%}, and the student" in card
    assert not (student / "teacher").exists()  # what it said is not needed any more


def test_a_student_goes_on_as_if_it_had_not_been_interrupted(
    student, recipe_file, finished_run, small, tmp_path, monkeypatch
):
    recipe = load_recipe(str(recipe_file), [f"distillation.teacher={finished_run}", *small])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("ser_meta.training.runs.stages.judge", _interrupt)
        run_stages(recipe, tmp_path / "run")
    assert list((tmp_path / "run" / "teacher").glob("*.arrow"))
    run_stages(recipe, tmp_path / "run", resume=True)
    weights = (SerMetaModel.from_pretrained(folder / "model").state_dict() for folder in (student, tmp_path / "run"))
    assert all(torch.equal(one, other) for one, other in zip(*(each.values() for each in weights), strict=True))


def test_what_the_teacher_teaches_is_trained_whichever_labels_a_stage_has(recipe_file, finished_run, tmp_path):
    settings = [f"distillation.teacher={finished_run}", "distillation.loss_weights.frames=0"]
    short = ["data.speed_factors=[1.0]", "stages.metadata.epochs=0.2", "stages.metadata.loss_weights={gender: 1}"]
    recipe = load_recipe(str(recipe_file), [*settings, *short, "model.coattention_gradient=false"])
    before = prepare(recipe).new_model().state_dict()
    train_first_stage(recipe, tmp_path / "first")
    after = load_file(tmp_path / "first" / "stage-1-metadata" / "model.safetensors")
    above = {name for name in after if not name.startswith("encoder.")}
    assert {name.partition(".")[0] for name in above} == {"layer_fusion", "heads", "coattention", "classifier"}
    assert not [name for name in above if torch.equal(before[name], after[name])]


def test_rows_share_a_first_stage_that_is_taught_the_target_only_where_the_models_are_alike(recipe_file, finished_run):
    taught, other = (
        [load_recipe(str(recipe_file), [*settings, f"model.coattention={given}"]) for given in ("true", "false")]
        for settings in (
            [f"distillation.teacher={finished_run}"],
            [f"distillation.teacher={finished_run}", "distillation.loss_weights.target=0"],
        )
    )
    assert first_stage_recipe(taught[0]) != first_stage_recipe(taught[1])
    assert first_stage_recipe(other[0]) == first_stage_recipe(other[1])


def _interrupt(*_):
    raise KeyboardInterrupt


def test_another_encoder_learns_without_one_width(recipe_file, finished_run, make_encoder, tmp_path):
    narrow = make_encoder(hidden_size=16, num_hidden_layers=2, intermediate_size=16)
    settings = [f"distillation.teacher={finished_run}", f"model.encoder={narrow}", "stages.metadata=null"]
    short = ["stages.emotion.epochs=1", "stages.emotion.freeze_layers=0", "data.speed_factors=[1.0]"]
    recipe = load_recipe(str(recipe_file), [*settings, *short, "model.coattention_heads=4"])
    report = run_stages(recipe, tmp_path / "run")
    assert set(report.teacher.loss_weights) == {"target", "tasks", "frames"}
    with pytest.raises(UserError, match=r"layers are 16 wide and the teacher's 32: .*layers=0"):
        layers = load_recipe(str(recipe_file), [*settings, *short, "distillation.loss_weights.layers=1"])
        run_stages(layers, tmp_path / "layers")
    assert not (tmp_path / "layers").exists()


@pytest.fixture(scope="module")
def teachers(tmp_path_factory, recipe_file):
    """A study with its models."""
    short = ["stages.metadata=null", "stages.emotion.epochs=1", "data.speed_factors=[1.0]"]
    folder = tmp_path_factory.mktemp("studies") / "teachers"
    cross_validate(load_recipe(str(recipe_file), short), folder, keep_models=True)
    return folder


def test_each_fold_learns_from_the_teacher_of_that_fold(teachers, recipe_file, small, command_line, tmp_path):
    arguments = ["distill", teachers, recipe_file, *small, "--output", tmp_path / "students"]
    code, printed, errors = command_line(*arguments)
    assert code == 0, errors
    report = read_study_report(tmp_path / "students" / "report.json")
    for run in report.runs:
        recipe = load_recipe(str(tmp_path / "students" / run.folder / "recipe.yaml"))
        assert recipe.distillation.teacher == recipe.model.encoder == str(teachers / run.folder / "model")
    own, its = (pandas.read_parquet(folder / "predictions.parquet") for folder in (tmp_path / "students", teachers))
    assert report.teacher.ua == paired_difference(own, its, "emotion")["ua"]
    assert len(report.teacher.ua["interval"]) == 2 and report.teacher.speakers == 6
    assert "On the same test utterances the teacher has a UA of" in " ".join(printed.split())
    assert command_line(*arguments)[0] == 0  # finds all of it done


def test_what_cannot_be_taught_is_refused_in_a_line(finished_run, teachers, recipe_file, refused, tmp_path):
    def distill(teacher, *settings):
        return ["distill", teacher, recipe_file, *settings, "--output", tmp_path / "run"]

    refused(distill(tmp_path / "nowhere"), "nowhere holds no model")
    other = "data.test_fold.place=0"
    refused(distill(finished_run, other), "was not tested on 12 of the 12", "the same folds")
    refused(distill(finished_run, other, "model.encoder=teacher"), "was trained on 12 of the 12", "its own test fold")
    refused(distill(finished_run, "model.labels={emotion: [sad, neutral, angry]}"), "give both the same")
    refused(distill(finished_run, "data.trim_decibels=40"), "trim_decibels=None", "distillation.loss_weights.frames=0")
    refused(distill(finished_run, "distillation.unlabelled=nowhere"), "distillation.unlabelled=nowhere is no folder")
    drawn = ["stages.emotion.balanced_batches=true", "distillation.unlabelled=nowhere"]
    refused(distill(finished_run, *drawn), "balanced_batches draws by labels")
    refused(distill(finished_run, "distillation.loss_weights={voice: 1}"), "voice", "target, tasks, frames, layers")
    refused(distill(finished_run, "model.narrow={intermediate_size: 999}"), "larger than the encoder's own 64")
    refused(distill(finished_run, "model.narrow={num_hidden_layers: 1}"), "set model.encoder_layers=1")
    refused(distill(teachers, "data.folds=utterances"), "has no fold", "give the student the same folds")
    refused(["train", recipe_file, "model.encoder=teacher", "--output", tmp_path / "run"], "use ser-meta distill")
    assert not (tmp_path / "run").exists()
