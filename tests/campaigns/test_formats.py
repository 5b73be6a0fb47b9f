"""The same recordings in every usual format, at every entry: the labels of their sound as a 16 kHz WAV."""

import csv
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_formats import FORMATS, write_format

import ser_meta.modeling_ser_meta.sound_files_ser_meta as sound_files
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.modeling_ser_meta import SpeechEmotionPipeline
from ser_meta.modeling_ser_meta.audio_ser_meta import read_audio
from ser_meta.training.checking.check import check_corpus
from ser_meta.training.corpora import load_corpus
from ser_meta.training.runs.judging import predict_dataset
from ser_meta.training.runs.loading import load_model
from ser_meta.training.runs.stages import run_stages

pytestmark = pytest.mark.campaign
REFERENCE = "wav-16-bit"
SPEAKERS = ("anna", "bela", "cleo", "dora", "emil", "finn")
BLOCKED = "import sys; sys.modules['av'] = None; sys.path.insert(0, sys.argv[1]); sys.argv = sys.argv[1:]; "
BLOCKED += "import runner; sys.exit(runner.main())"

Labels = Mapping[str, str | None]
"""By file name the label, or None where there is none."""


@pytest.fixture(scope="module")
def files(speech_table, tmp_path_factory) -> dict[str, list[Path]]:
    """By format, a recording of each emotion, said by speakers in turn."""
    pytest.importorskip("av")
    folder, made = tmp_path_factory.mktemp("formats"), {}
    for number, name in enumerate(FORMATS):
        made[name] = []
        for emotion in ("angry", "neutral", "sad"):
            samples, _ = soundfile.read(speech_table.parent / f"{SPEAKERS[number % 6]}-{emotion}-scripted.wav")
            place = folder / emotion
            place.mkdir(exist_ok=True)
            made[name].append(write_format(name, place, np.tile(samples, 3)))
    return made


@pytest.fixture(scope="module")
def table(files) -> Path:
    """All of them as a corpus."""
    path = next(iter(files.values()))[0].parents[1] / "all.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["audio", "emotion", "speaker", "gender", "style", "transcript"])
        for number, (name, paths) in enumerate(files.items()):
            for one in paths:
                gender = "female" if number % 6 in (0, 2, 3) else "male"
                rows.writerow([one.relative_to(path.parent), one.parent.name, SPEAKERS[number % 6], gender, name, "a"])
    return path


@pytest.fixture(scope="module")
def expected(files, recognise, tmp_path_factory) -> Labels:
    """Of each file the label of its sound as a 16 kHz WAV; test_sound_files.py tells that it is the right sound."""
    wav, found = tmp_path_factory.mktemp("wav") / "a.wav", {}
    for path in (path for paths in files.values() for path in paths):
        soundfile.write(wav, read_audio(path), 16_000, subtype="FLOAT")
        found[key(path)] = recognise(str(wav))["emotion"][0]["label"]
    return found


def key(path: str | Path) -> str:
    return "/".join(Path(path).parts[-2:])


@pytest.fixture(scope="module")
def recognise(finished_run):
    model, processor = load_model(finished_run / "model")
    return SpeechEmotionPipeline(model=model, processor=processor)


def labels_of(printed: str) -> Labels:
    results = map(json.loads, printed.splitlines())
    return {key(result["file"]): result["emotion"][0]["label"] for result in results}


def of_check(table, expected) -> Labels:
    """What check would leave out is None; it has no label of its own."""
    findings = check_corpus("table", str(table), workers=2)["findings"]
    faults = [one for one in findings if one["left_out"] and one["finding"] != "same speech"]  # which they are
    out = {row for one in faults for row in one["details"]}
    return {name: None if name in out else label for name, label in expected.items()}


def of_training(model, recipe_file, table, folder) -> Labels:
    """A training of all of them comes to its end; and as its batches read them, the model says this."""
    settings = [f"data.root={table}", "data.group_size=1", "data.test_fold=finn", "stages.metadata.epochs=1"]
    run_stages(load_recipe(str(recipe_file), settings), folder)
    split = json.loads((folder / "split.json").read_text())
    dataset = load_corpus("table", table)
    assert {*split["train"], *split["test"]} == set(dataset["utterance_id"])
    predictions = predict_dataset(*load_model(model), dataset)
    return dict(zip(dataset["utterance_id"], predictions["emotion_predicted"], strict=True))


def of_page(files, recognise) -> Labels:
    app = pytest.importorskip("ser_meta.hub_cards.page.space_app")
    return {
        key(path): app.answer(recognise, ["emotion"], app.DEFAULT_LIMITS, str(path))[-1]["emotion"][0]["label"]
        for paths in files.values()
        for path in paths
    }


def of_runner(model, files, folder) -> Labels:
    pytest.importorskip("onnxruntime")
    from ser_meta.hub_cards.export.onnx import export_onnx

    export_onnx(*load_model(model), folder)
    paths = [str(path) for those in files.values() for path in those]
    done = subprocess.run([sys.executable, folder / "runner.py", *paths], capture_output=True, text=True, check=True)
    refused = [path for path in paths if FORMATS[Path(path).stem].needs_av]
    blocked = [sys.executable, "-c", BLOCKED, folder, *refused]
    without = subprocess.run(blocked, capture_output=True, text=True)
    lines = [line for line in without.stderr.splitlines() if "ser-meta[media]" in line]
    assert without.returncode == 2 and len(lines) == len(refused) and not without.stdout
    return labels_of(done.stdout)


def test_formats(files, table, expected, recognise, finished_run, recipe_file, command_line, monkeypatch, tmp_path):
    paths = [path for those in files.values() for path in those]
    code, printed, _ = command_line("predict", finished_run / "model", *paths, "--json")
    assert code == 0
    found = {
        "check": of_check(table, expected),
        "train": of_training(finished_run / "model", recipe_file, table, tmp_path / "run"),
        "predict": labels_of(printed),
        "runner": of_runner(finished_run / "model", files, tmp_path / "onnx"),
        "page": of_page(files, recognise),
    }
    monkeypatch.setattr(sound_files, "av", None)
    _, printed, errors = command_line("predict", finished_run / "model", *paths, "--json")
    without = labels_of(printed)
    print("\n| format | " + " | ".join(found) + " | without `av` |\n|---|" + "---|" * (len(found) + 1))
    wrong = []
    for name, those in files.items():
        cells = []
        for entry, labels in found.items():
            same = all(labels.get(key(path)) == expected[key(path)] for path in those)
            cells.append("same" if same else "other")
            wrong += [] if same else [(name, entry)]
        lines = [line for line in errors if any(str(path) in line for path in those)]
        refused = len(lines) == len(those) and all("ser-meta[media]" in line for line in lines)
        same = all(without.get(key(path)) == expected[key(path)] for path in those)
        cells.append("one line names the extra" if refused else "same" if same else "other")
        wrong += [(name, "without av")] if refused != FORMATS[name].needs_av or not (refused or same) else []
        print(f"| {name} (`{FORMATS[name].ending}`, {FORMATS[name].rate} Hz) | " + " | ".join(cells) + " |")
    assert len(files) >= 30 and not wrong
    assert len(set(expected.values())) > 1
