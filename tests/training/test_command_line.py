import io
import json
import re
import shutil

import pytest
import soundfile


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output"


@pytest.fixture
def train(recipe_file, output):
    """The command that trains the tiny recipe with some settings changed, into `output`."""
    return lambda *settings, recipe=recipe_file: ["train", recipe, *settings, "--output", output]


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (["data.corpus=ravdes"], ["unknown corpus 'ravdes'", "ravdess", "table"]),
        (["data.root=/nowhere/speech.csv"], ["/nowhere/speech.csv"]),
        (["data.optoins.split=x"], ["unknown recipe key data.optoins", "did you mean options?"]),
        (["data.options.nonsense=1"], ["unknown option 'nonsense'", "columns"]),
        (["stages.emotion.epochs=soon"], ["stages.emotion.epochs", "soon"]),
        (["model.labels.emotion=[angry,sad]"], ["anna-neutral-improvised.wav", "'neutral'", "angry, sad"]),
        (["model.labels.emotion=[angry,neutral,sad,happy]"], ["the train side has no utterance of happy"]),
        (
            ["model.target_task=intensity", "stages.emotion.loss_weights.intensity=1"],
            ["has a value of intensity", "choose another model.target_task"],
        ),
        (["model.auxiliary_tasks=[gender,speaker,style,transcript,intensity]"], ["intensity", "auxiliary_tasks"]),
        (["model.auxiliary_tasks=[gender,speaker,style,transcript,mood]"], ["no mood", "columns", "emotion"]),
        (["model.encoder=/nowhere/encoder"], ["model.encoder=/nowhere/encoder", "folder"]),
        (["data.test_fold=nobody"], ["'nobody'", "anna+bela"]),
        (["data.folds=session"], ["no session"]),
    ],
)
def test_training_refuses_a_wrong_setting(refused, train, output, settings, parts):
    refused(train(*settings), *parts)
    assert not output.exists()


def test_an_ablation_without_a_recipe_is_refused(refused, output):
    refused(["ablate", "2", "data.root=/x", "--output", output], "no recipe is given beside data.root=/x")
    assert not output.exists()


@pytest.mark.parametrize("setting", ["model.target_task=intensity", "stages.emotion.loss_weights.emotion=0"])
@pytest.mark.parametrize("command", ["train", "crossval"])
def test_a_recipe_of_which_no_stage_trains_the_target_is_refused(refused, recipe_file, output, command, setting):
    task = "intensity" if "intensity" in setting else "emotion"
    refused([command, recipe_file, setting, "--output", output], f"no stage trains model.target_task={task}: give it")
    assert not output.exists()


def test_training_refuses_a_recipe_that_is_not_there(refused, train, output, speech_table):
    refused(train(recipe="ravdes"), "no such recipe: ravdes", "ravdess-whisper-base")
    refused(train(recipe="nowhere.yaml"), "no such file: nowhere.yaml")
    refused(train(recipe=str(speech_table)), f"{speech_table} is no recipe", f"data.root={speech_table}")
    assert not output.exists()


@pytest.mark.parametrize(
    ("what", "parts"),
    [
        ("missing", ["no such recording"]),
        ("text", ["cannot be read as audio", "leave it out"]),
        ("nothing", ["cannot be read as audio", "leave it out"]),
        ("header", ["lasts 0.0000 s", "leave it out"]),
        ("short", ["lasts 0.0187 s", "leave it out"]),
    ],
)
def test_training_refuses_an_unusable_recording(
    refused, train, output, changed_table, unusable, speech_table, what, parts
):
    path = unusable(what)
    table = changed_table(lambda row: row | ({"audio": str(path)} if row["audio"].startswith("finn-sad-i") else {}))
    options = [
        f"data.root={table}",
        f"data.options.audio_root={speech_table.parent}",
        "data.options.allow_outside=true",
    ]
    refused(train(*options), path, *parts)
    assert not output.exists()


def test_training_refuses_a_fold_that_takes_a_class_away(refused, train, output, changed_table, speech_table):
    def only_the_last_two_are_angry(row):
        return None if row["emotion"] == "angry" and row["speaker"] not in ("emil", "finn") else row

    table = changed_table(only_the_last_two_are_angry)
    settings = [f"data.root={table}", f"data.options.audio_root={speech_table.parent}"]
    refused(train(*settings), "the train side has no utterance of angry", "choose another fold")

    table = changed_table(lambda row: row | ({"emotion": ""} if row["speaker"] in ("emil", "finn") else {}))
    refused(train(*settings), "the test fold emil+finn", "emotion", "choose another fold")
    assert not output.exists()


def test_an_encoder_that_no_network_gives_may_be_a_folder(refused, train, output):
    refused(
        train("model.encoder=someone/nowhere"), "model.encoder=someone/nowhere cannot be used", "model.encoder=FOLDER"
    )
    assert not output.exists()


def test_training_refuses_an_encoder_that_hears_nothing(command_line, train, output, another_model):
    code, printed, errors = command_line(*train(f"model.encoder={another_model}"))
    assert (code, printed) == (2, "") and not output.exists()
    assert errors[-1].startswith(f"ser-meta: model.encoder={another_model} cannot be used:") and "bert" in errors[-1]


def test_training_refuses_a_folder_that_holds_another_run(refused, recipe_file, finished_run, tmp_path):
    arguments = ["train", recipe_file, "--output", finished_run]
    refused(arguments, finished_run, "holds another run", "--output", "--resume")
    refused([*arguments, "seed=3", "--resume"], finished_run, "another recipe")
    (tmp_path / "mine.txt").write_text("mine")
    refused(["train", recipe_file, "--output", tmp_path], tmp_path, "holds no run", "--output")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_debug_adds_the_traceback(command_line, output):
    code, _, errors = command_line("--debug", "train", "ravdes", "--output", output)
    assert code == 2 and errors[0].startswith("Traceback")
    assert errors[-1].startswith("ser-meta: no such recipe: ravdes")


def test_training_prints_the_report_and_where_the_model_is(command_line, train, output):
    code, printed, errors = command_line(*train("stages.metadata.epochs=0.2", "stages.emotion.epochs=0.2"))
    assert code == 0 and "Traceback" not in "\n".join(errors)
    assert str(output / "model") in printed and "emil+finn" in printed
    for label in ("angry", "neutral", "sad", "emotion", "UA", "CER"):
        assert label in printed
    assert any("stage metadata" in line and "loss_gender" in line for line in errors)


def test_the_doctor_names_versions_and_the_device(command_line):
    import torch

    code, printed, _ = command_line("doctor", "--json")
    found = json.loads(printed)
    assert code == 0 and found["torch"] == torch.__version__ and found["soundfile"] == soundfile.__version__
    assert found["device"] and found["python"] and "espeakng_loader" in found
    code, printed, _ = command_line("doctor")
    assert code == 0 and len(printed.splitlines()) == len(found)


def test_labels_that_standard_output_cannot_encode(command_line, finished_run, speech_table, tmp_path, monkeypatch):
    model = shutil.copytree(finished_run / "model", tmp_path / "model")
    config = (model / "config.json").read_text(encoding="utf-8")
    config = re.sub('"(angry|neutral|sad)"', r'"\1, für 😀"', config)
    (model / "config.json").write_text(config, encoding="utf-8")
    recording = sorted(speech_table.parent.glob("*.wav"))[0]
    monkeypatch.setenv("COLUMNS", "300")

    def printed(*form: str) -> str:
        output = io.BytesIO()
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(output, encoding="ascii"))
        code, _, errors = command_line("predict", model, recording, "--task", "emotion", *form)
        assert (code, errors) == (0, [])
        return output.getvalue().decode("ascii")

    entries = json.loads(printed("--json"))["emotion"]
    assert {entry["label"] for entry in entries} == {f"{label}, für 😀" for label in ("angry", "neutral", "sad")}
    assert r", f\xfcr \U0001f600 0." in printed()
