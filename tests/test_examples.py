import ast
import json
import os
import runpy
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from loopback_hub import LoopbackHub
from PIL import Image
from transformers import AutoFeatureExtractor, Wav2Vec2Model

from ser_meta.modeling_ser_meta import SerMetaModel, SerMetaProcessor, SpeechEmotionPipeline
from ser_meta.training.planning.starting import PACKAGED_ENCODERS

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def loaded(folder: Path) -> Wav2Vec2Model:
    model, info = Wav2Vec2Model.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    return model


def test_the_demo_encoder_is_made_by_its_script(tmp_path):
    script = runpy.run_path(str(EXAMPLES / "pretrain_demo_encoder.py"))
    script["main"](tmp_path / "encoder", utterances=32, short_epochs=1, epochs=0.5, unseen=6)
    made, shipped = loaded(tmp_path / "encoder"), loaded(PACKAGED_ENCODERS["demo-encoder"])
    assert {name: tensor.shape for name, tensor in made.state_dict().items()} == {
        name: tensor.shape for name, tensor in shipped.state_dict().items()
    }
    folders = (tmp_path / "encoder", PACKAGED_ENCODERS["demo-encoder"])
    extractors = [AutoFeatureExtractor.from_pretrained(folder).to_dict() for folder in folders]
    assert extractors[0] == extractors[1]
    assert sum(file.stat().st_size for file in PACKAGED_ENCODERS["demo-encoder"].iterdir()) < 5_000_000


def test_a_long_recording_is_drawn(finished_run, speech_table, tmp_path, capsys):
    script = runpy.run_path(str(EXAMPLES / "long_recording.py"))
    recording = speech_table.parent / "anna-angry-scripted.wav"
    script["main"](str(finished_run / "model"), recording, tmp_path / "timeline.png", window=0.2, hop=0.1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("     0.0 - ") and all(" s  " in line for line in lines)
    assert (tmp_path / "timeline.png").read_bytes().startswith(b"\x89PNG")


def test_the_benchmark_of_long_recordings(finished_run, speech_table, tmp_path):
    script = runpy.run_path(str(EXAMPLES / "benchmarks" / "long_recording.py"))
    truth = script["string_together"]("table", str(speech_table), None, 0.1, tmp_path / "long.wav")
    assert truth[0][0] == 0 and 6 <= truth[-1][1] < 7
    assert all(before[1] == after[0] for before, after in pairwise(truth))
    recognise = script["load"](finished_run / "model")
    options = {"window_seconds": 0.4, "hop_seconds": 0.2, "batch_size": 4}
    facts = script["measure"](recognise, tmp_path / "long.wav", truth, options, 1.0)
    assert facts["peak_megabytes"] >= facts["peak_megabytes_before"] > 100
    assert facts["joins"] == sum(before[2] != after[2] for before, after in pairwise(truth))


def test_what_the_benchmark_counts_as_found():
    fit = runpy.run_path(str(EXAMPLES / "benchmarks" / "long_recording.py"))["fit"]
    truth = [(0, 4, "sad"), (4, 8, "sad"), (8, 12, "happy"), (12, 16, "sad")]
    assert fit(truth, [(0, 9, "sad"), (9, 16, "happy")], 1.0) == {
        "tolerance": 1.0,
        "joins": 2,
        "joins_found": 0.5,
        "joins_missed_with_one_label_for_both": 1,
        "joins_missed_otherwise": 0,
        "boundaries": 1,
        "boundaries_at_a_join": 1.0,
        "boundaries_where_a_recording_ends": 1.0,
        "label_by_time": round(11 / 16, 4),
        "recordings": 4,
        "recordings_labelled_right": 0.75,
    }


@pytest.fixture
def recording(speech_table) -> Path:
    return speech_table.parent / "emil-angry-scripted.wav"


@pytest.fixture(scope="module")
def recognise(finished_run) -> SpeechEmotionPipeline:
    folder = finished_run / "model"
    processor = SerMetaProcessor.from_pretrained(folder)
    return SpeechEmotionPipeline(model=SerMetaModel.from_pretrained(folder), processor=processor)


def printed_scores(lines: list[str]) -> dict[str, float]:
    return {label: float(score) for score, label in (line.split("  ") for line in lines)}


def test_fine_tuning_on_own_recordings(recipe_file, speech_table, recording, tmp_path, capsys):
    own = Path(shutil.copytree(speech_table.parent, tmp_path / "own"))
    table = pd.read_csv(speech_table).rename(columns={"audio": "path", "emotion": "label", "speaker": "actor"})
    table[["path", "label", "actor"]].to_csv(own / "my.csv", index=False)
    script = runpy.run_path(str(EXAMPLES / "own_recordings.py"))
    script["main"](own / "my.csv", tmp_path / "run", recording, recipe=str(recipe_file))
    scores = printed_scores(capsys.readouterr().out.splitlines()[-3:])
    assert set(scores) == {"angry", "neutral", "sad"} and sum(scores.values()) == pytest.approx(1, abs=0.02)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["sides"] == {"train": 30, "validation": 0, "test": 6}
    assert SerMetaModel.from_pretrained(tmp_path / "run" / "model").config.auxiliary_tasks == ["speaker"]


def test_predictions_of_a_data_set(finished_run, speech_table, recognise, tmp_path):
    script = runpy.run_path(str(EXAMPLES / "batch_predictions.py"))
    script["main"](str(finished_run / "model"), str(speech_table), tmp_path / "predictions.csv", batch_size=5)
    table = pd.read_csv(tmp_path / "predictions.csv", keep_default_na=False)
    assert list(table["utterance_id"]) == list(pd.read_csv(speech_table)["audio"])
    for row in table.iloc[::7].itertuples():
        expected = recognise(str(speech_table.parent / row.utterance_id))
        best = [expected[task][0]["label"] for task in ("emotion", "gender", "style")]
        assert [row.emotion, row.gender, row.style, row.transcript] == [*best, expected["transcript"]]
        assert row.score == pytest.approx(expected["emotion"][0]["score"], abs=1e-5)


def test_pushing_in_python(finished_run, recording, recognise, tmp_path):
    with LoopbackHub() as hub:
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_writer", "HF_HOME": str(tmp_path)}
        environment |= {
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_MODULES_CACHE": str(tmp_path / "modules"),
        }
        names = ("someone/emotions", "someone/page")
        command = [sys.executable, EXAMPLES / "push_to_hub.py", finished_run, *names, recording]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        model, space = hub.repositories["someone/emotions"], hub.repositories["spaces/someone/page"]
    lines = done.stdout.splitlines()
    assert lines[0].endswith(f"/someone/emotions/commit/{model.find('main')}")
    assert lines[1].endswith(f"/spaces/someone/page/commit/{space.find('main')}")
    assert model.find("main") in space.tree()["app.py"].decode()
    expected = {entry["label"]: entry["score"] for entry in recognise(str(recording))["emotion"]}
    assert printed_scores(lines[2:]) == pytest.approx(expected, abs=0.006)


def test_the_notebook(finished_run, speech_table, recording, recognise, tmp_path, monkeypatch, capsys):
    """Its cells one after the other, where the demo has run."""
    heard = tmp_path / "ser-meta-demo" / "recordings" / "f3-1"
    heard.mkdir(parents=True)
    for path in sorted(speech_table.parent.glob("emil-*.wav")):
        samples, rate = soundfile.read(path)
        soundfile.write(heard / f"{path.stem}.flac", np.tile(samples, 2), rate)
    (tmp_path / "ser-meta-demo" / "run").symlink_to(finished_run)
    monkeypatch.chdir(tmp_path)
    shown = run_notebook(EXAMPLES / "first_steps.ipynb")
    first = str(sorted(heard.iterdir())[0])
    assert shown["predict"]["emotion"][0]["label"] == recognise(first)["emotion"][0]["label"]
    segments = capsys.readouterr().out.splitlines()
    assert segments[0].startswith("   0.0 - ") and all(" s  " in line for line in segments)
    assert isinstance(shown["draw"], Image.Image) and shown["draw"].width > 500


def run_notebook(path: Path) -> dict[str, object]:
    """Runs the code cells; by cell, the value of its last line, which a notebook shows."""
    notebook, names, shown = json.loads(path.read_text(encoding="utf-8")), {}, {}
    assert (notebook["nbformat"], notebook["metadata"]["kernelspec"]["name"]) == (4, "python3")
    for cell in (cell for cell in notebook["cells"] if cell["cell_type"] == "code"):
        assert not cell["outputs"] and cell["execution_count"] is None
        *before, last = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Module(before, []), cell["id"], "exec"), names)
        if isinstance(last, ast.Expr):
            shown[cell["id"]] = eval(compile(ast.Expression(last.value), cell["id"], "eval"), names)
        else:
            exec(compile(ast.Module([last], []), cell["id"], "exec"), names)
    return shown
