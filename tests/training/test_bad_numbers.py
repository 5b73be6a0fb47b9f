import re
import shutil
import subprocess
import sys
from pathlib import Path

import killable
import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback, trainer

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import read_json
from ser_meta.modeling_ser_meta import SerMetaModel, SerMetaProcessor
from ser_meta.training.learning.guards import spread
from ser_meta.training.runs.preparation import prepare
from ser_meta.training.runs.stages import run_stages
from ser_meta.training.runs.unaligned import aligned_frames, frame_counts

BRIEF = ["stages.metadata.epochs=0.1", "stages.emotion.epochs=0.1"]


@pytest.fixture
def changed(changed_table, speech_table):
    """Settings of the tiny recipe that put a changed table in the place of its own."""
    return lambda change: [f"data.root={changed_table(change)}", f"data.options.audio_root={speech_table.parent}"]


class Damage(TrainerCallback):
    """Does harm to the model at the beginning of a step of the second stage."""

    def __init__(self, step: int, harm):
        self.step, self.harm = step, harm

    def on_step_begin(self, args, state, control, model, **_):
        if args.output_dir.endswith("stage-2-emotion") and state.global_step == self.step - 1:
            self.harm(model)


def lose_gender(model) -> None:
    with torch.no_grad():
        model.heads["gender"].classifier.weight[0, 0] = torch.nan


def lose_a_gradient(model) -> None:
    model.classifier[-1].weight.register_hook(lambda gradient: gradient * torch.inf)


@pytest.mark.parametrize(
    ("harm", "what"),
    [(lose_gender, "the loss of gender"), (lose_a_gradient, "the gradient")],
    ids=["loss", "slope"],
)
def test_numbers_that_are_not_finite_end_the_training_at_their_step(
    harm, what, recipe_file, finished_run, tmp_path, monkeypatch, command_line
):
    command = ["train", recipe_file, "--output", tmp_path / "run"]
    with monkeypatch.context() as damaged:
        damaged.setattr(trainer, "DEFAULT_CALLBACKS", [*trainer.DEFAULT_CALLBACKS, Damage(9, harm)])
        code, printed, errors = command_line(*command)
    assert (code, printed) == (2, "") and errors[-1].startswith(f"ser-meta: {what} is not finite at step 9, with ")
    assert len(re.findall(r"\w+-\w+-\w+\.wav", errors[-1])) == 4  # a batch
    stage = tmp_path / "run" / "stage-2-emotion"
    assert [path.name for path in stage.iterdir()] == ["checkpoint-6"]
    assert command_line(*command, "--resume")[0] == 0
    ours, expected = (load_file(run / "model" / "model.safetensors") for run in (tmp_path / "run", finished_run))
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


def test_too_high_a_learning_rate_is_told_before_the_weights_are_lost(recipe_file, tmp_path):
    settings = ["stages.metadata.head_learning_rate=1e30", "stages.metadata.encoder_learning_rate=1e30"]
    with pytest.raises(UserError, match=r"the loss of .*gender.* is not finite at step \d+, .*lower learning rates"):
        run_stages(load_recipe(str(recipe_file), settings), tmp_path / "run")


def test_a_loss_that_is_not_finite_makes_every_gradient_so():
    """By the gradient, which processes share anyway, all learn of what one of them met."""
    weights = torch.ones(3, requires_grad=True)
    spread((weights * torch.tensor([1.0, 2.0, 0.0])).sum()).backward()
    assert weights.grad.tolist() == [1.0, 2.0, 0.0]
    for value in (torch.inf, torch.nan):
        weights.grad = None
        spread((weights * torch.tensor([1.0, 0.0, 0.0])).sum() + value).backward()
        assert weights.grad.isnan().all()


def test_several_processes_end_together_before_the_weights_are_lost(recipe_file, tmp_path):
    rates = [f"stages.metadata.{part}_learning_rate=1e30" for part in ("head", "encoder")]
    command = ["train", recipe_file, *rates, "--output", tmp_path / "run"]
    codes, printed = killable.run_together(2, *command, log=tmp_path / "log")
    assert codes == [2, 2]
    told = [text.splitlines()[-1] for text in printed]
    assert told[0] == told[1] and re.search(r"the loss of .*gender.* is not finite at step \d+, with the", told[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_recording_that_is_not_finite_is_one_line(recipe_file, speech_table, tmp_path, command_line, workers):
    folder = shutil.copytree(speech_table.parent, tmp_path / "speech")
    soundfile.write(folder / "anna-sad-scripted.wav", np.full(8_000, np.nan), 16_000, subtype="FLOAT")
    settings = [f"data.root={folder / speech_table.name}", f"workers={workers}"]
    code, printed, errors = command_line("train", recipe_file, *settings, "--output", tmp_path / "run")
    told = [line for line in errors if not line.startswith(("tested is", "stage "))]
    assert (code, printed, len(told)) == (2, "", 1), errors
    assert told[0].startswith("ser-meta: ") and "anna-sad-scripted.wav" in told[0]


def test_transcripts_longer_than_their_frames_are_counted_and_told(recipe_file, changed, tmp_path, capfd):
    words = "A sentence that nobody can say in half a second " * 4
    settings = changed(lambda row: row | ({"transcript": words} if row["audio"].startswith(("anna", "finn")) else {}))
    recipe = load_recipe(str(recipe_file), [*settings, *BRIEF])
    run_stages(recipe, tmp_path / "run")
    told = [line for line in capfd.readouterr().err.splitlines() if "transcripts" in line]
    assert [line.split(":")[0] for line in told] == ["stage metadata", "stage emotion"]
    assert all(": 6 of 24 transcripts have more characters than the encoder has frames" in line for line in told)
    assert [stage["unaligned_transcripts"] for stage in read_json(tmp_path / "run" / "state.json").values()] == [6, 6]


def test_transcripts_are_counted_by_what_is_heard_without_the_silent_ends(recipe_file, speech_table, tmp_path):
    folder = shutil.copytree(speech_table.parent, tmp_path / "speech")
    for path in folder.glob("anna-*.wav"):
        samples, rate = soundfile.read(path)
        soundfile.write(path, np.concatenate([samples, np.zeros(2 * rate)]), rate)
    words = "I am all that is in half a second of speech, and no more than this is. " * 2  # fits 2 s, not 0.6 s
    table = folder / speech_table.name
    table.write_text(re.sub(r"(anna-.*,)I am.*", rf"\g<1>{words!r}".replace(",", ""), table.read_text()))
    recipe = load_recipe(str(recipe_file), [f"data.root={table}", "data.trim_decibels=30", *BRIEF])
    run_stages(recipe, tmp_path / "run")
    assert [stage["unaligned_transcripts"] for stage in read_json(tmp_path / "run" / "state.json").values()] == [5, 5]


def test_frames_are_counted_as_the_model_makes_them(recipe_file):
    prepared = prepare(load_recipe(str(recipe_file)))
    model = prepared.new_model().eval()
    batch = prepared.build_collator(model, prepared.recipe.stages["emotion"]).without_speed()(list(prepared.dataset))
    batch.pop("labels")
    with torch.no_grad():
        frames = model(**batch).frame_mask.sum(dim=1)
    assert torch.equal(frame_counts(model, prepared.processor, prepared.durations), frames)
    # one a character, one between two that are alike, and the space is a character
    needed = aligned_frames(prepared.processor, ["abc", "aab", "a  b", "", None, "hello ll"])
    assert needed.tolist() == [3, 4, 3, 0, 0, 10]


def test_a_class_absent_from_the_test_fold_is_judged_by_the_others(recipe_file, changed, tmp_path):
    settings = changed(lambda row: None if row["speaker"] in ("emil", "finn") and row["emotion"] == "sad" else row)
    report = run_stages(load_recipe(str(recipe_file), [*settings, *BRIEF]), tmp_path / "run")
    judged = report.metrics["emotion"]
    assert judged["support"] == {"angry": 4, "neutral": 4, "sad": 0}
    assert judged["ua"] == pytest.approx((judged["recall"]["angry"] + judged["recall"]["neutral"]) / 2)


def test_a_class_absent_from_the_training_side_is_refused(refused, recipe_file, changed, tmp_path):
    settings = changed(lambda row: row if row["speaker"] in ("emil", "finn") or row["emotion"] != "sad" else None)
    command = ["train", recipe_file, *settings, "--output", tmp_path / "run"]
    refused(command, "the train side has no utterance of sad", "choose another fold")


def test_a_single_speaker_is_no_two_folds(refused, recipe_file, changed, tmp_path):
    settings = changed(lambda row: row if row["speaker"] == "anna" else None)
    command = ["train", recipe_file, *settings, "data.test_fold=0", "--output", tmp_path / "run"]
    refused(command, "nothing is left to train on", "data.folds")


def test_a_single_speaker_in_two_sessions_trains(recipe_file, changed, tmp_path):
    def one_speaker(row):
        return row | {"speaker": "anna", "session": row["audio"].split("-")[2][:4], "style": "read"}

    settings = [*changed(one_speaker), "data.folds=session", "data.test_fold=scri", "data.group_size=1"]
    recipe = load_recipe(str(recipe_file), [*settings, "data.allow_speaker_overlap=true", *BRIEF])
    report = run_stages(recipe, tmp_path / "run")
    assert report.model.tasks["speaker"]["labels"] == ["anna"]
    assert report.metrics["emotion"]["interval"] == {"speakers": 1}  # too few for one


@pytest.mark.parametrize("task", ["gender", "style", "transcript"])
def test_a_task_without_any_label_is_refused(task, refused, recipe_file, changed, tmp_path):
    settings = changed(lambda row: row | {task: ""})
    command = ["train", recipe_file, *settings, "--output", tmp_path / "run"]
    refused(
        command, f"no utterance of the training side has a value of {task}", "leave it out of model.auxiliary_tasks"
    )


def test_a_task_whose_labels_are_all_in_one_batch_trains(recipe_file, changed, tmp_path):
    settings = changed(lambda row: row | {"style": "read" if row["audio"].startswith("anna-sad-s") else ""})
    epochs = [f"stages.{stage}.epochs=1" for stage in ("metadata", "emotion")]
    run_stages(load_recipe(str(recipe_file), [*settings, *epochs]), tmp_path / "run")
    logs = [entry for stage in read_json(tmp_path / "run" / "state.json").values() for entry in stage["log"]]
    assert all(np.isfinite(value) for entry in logs for value in entry.values())


def test_one_example_of_each_class_trains(recipe_file, changed, tmp_path):
    kept = {"anna-sad-scripted.wav", "anna-angry-scripted.wav", "bela-sad-scripted.wav"}
    settings = changed(lambda row: row if row["audio"] in kept else None)
    settings += ["data.group_size=1", "data.test_fold=bela"]
    report = run_stages(load_recipe(str(recipe_file), settings), tmp_path / "run")
    assert report.sides == {"train": 2, "validation": 0, "test": 1}
    assert report.metrics["emotion"]["support"] == {"angry": 0, "sad": 1}


def test_a_single_class_is_refused(refused, recipe_file, changed, tmp_path):
    settings = changed(lambda row: row if row["emotion"] == "sad" else None)
    command = ["train", recipe_file, *settings, "--output", tmp_path / "run"]
    refused(command, "every emotion is sad", "model.target_task")


def test_a_single_recording_is_refused(refused, recipe_file, changed, tmp_path):
    settings = changed(lambda row: row if row["audio"] == "anna-sad-scripted.wav" else None)
    command = ["train", recipe_file, *settings, "data.test_fold=0", "--output", tmp_path / "run"]
    refused(command, "nothing is left to train on")


def test_a_vocabulary_of_any_script_is_learned_and_written(recipe_file, changed, tmp_path):
    words = {"anna": "Я не злюсь", "bela": "我没有生气", "cleo": "أنا لست غاضبا", "dora": "मैं नाराज़ नहीं हूँ"}
    settings = changed(lambda row: row | {"transcript": words.get(row["speaker"], "")})
    run_stages(load_recipe(str(recipe_file), [*settings, *BRIEF]), tmp_path / "run")
    processor = SerMetaProcessor.from_pretrained(tmp_path / "run" / "model")
    model = SerMetaModel.from_pretrained(tmp_path / "run" / "model")
    for said in words.values():
        ids = processor.encode_transcripts([said])
        assert processor.decode_transcripts(ids.tolist(), ctc=False)[0].lower() == said.lower()
    assert model.heads["transcript"].classifier.out_features == len(processor.tokenizer.get_vocab())


def test_whisper_refuses_before_training_what_is_too_long(refused, make_whisper, recipe_file, speech_table, tmp_path):
    folder = shutil.copytree(speech_table.parent, tmp_path / "speech")
    settings = [f"model.encoder={make_whisper()}", f"data.root={folder / speech_table.name}"]
    command = ["train", recipe_file, *settings, "--output", tmp_path / "run"]
    soundfile.write(folder / "anna-sad-scripted.wav", np.full(25 * 16_000, 0.1), 16_000)
    refused(command, "anna-sad-scripted.wav", "train side", "lasts 25.0 s", "24 s at most", "set data.longest=24")
    refused([*command, "data.speed_factors=[1.0]", "data.longest=0.001"], "data.longest=0.001")
    assert not (tmp_path / "run").exists()


@pytest.mark.campaign
def test_under_accelerate_an_error_is_told_once(recipe_file, tmp_path):
    example = Path(__file__).resolve().parents[2] / "examples" / "accelerate" / "two_processes.yaml"
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", example, "--main_process_port", "0"]
    program = ["-m", "ser_meta.training", "train", recipe_file, "data.test_fold=nobody", "--output", tmp_path / "run"]
    done = subprocess.run(list(map(str, launch + program)), capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if line.startswith("ser-meta: no fold 'nobody'")] != []
    assert done.stderr.count("ser-meta: ") == 1
