"""The benchmarks, each with tiny sizes: every row is there, and what is counted is counted right."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.studies.crossval import cross_validate

BENCHMARKS = Path(__file__).resolve().parents[1] / "examples" / "benchmarks"
TINY = {"size": "tiny", "rounds": 1, "threads": 1}


@pytest.fixture
def script(monkeypatch):
    """Imports one of the scripts, as its own processes do; they find their parts beside them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module


def rows_of(output: Path) -> dict[str, dict]:
    """By what was measured; the page has as many lines."""
    rows = json.loads(output.with_suffix(".json").read_text())["rows"]
    page = output.with_suffix(".md").read_text().splitlines()
    assert sum(line.startswith("| ") for line in page) == len(rows) + 1
    assert all(row["ratio"] > 0 for row in rows)
    return {row["what"]: row for row in rows}


def test_lengths_of_conversations(script):
    lengths = script("speech").utterance_lengths(20_000)
    assert lengths.min() == 0.6 and lengths.max() <= 30
    assert lengths.mean() == pytest.approx(4.5, abs=0.1) and lengths.std() == pytest.approx(3, abs=0.15)


def test_recordings_are_joined_and_cut(script, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    parts = [np.full(1600, 0.25, np.float32), np.full(800, -0.25, np.float32)]
    for number, part in enumerate(parts):
        soundfile.write(source / f"{number}.wav", part, 16_000)
    speech = script("speech")
    table = speech.write_speech(tmp_path / "speech", 3, source)
    lengths = [round(seconds * 16_000) for seconds in [*speech.utterance_lengths(3), 1, 1, 1, 1]]
    read = [soundfile.read(path)[0] for path in sorted(table.parent.glob("*.wav"))]
    assert [len(samples) for samples in read] == lengths
    joined = np.concatenate(read)
    whole = joined[: len(joined) // 2400 * 2400].reshape(-1, 2400)
    assert set(np.unique(joined)) == {0.25, -0.25} and set((whole > 0).sum(axis=1)) == {1600}
    corpus = speech.Corpus(table, tmp_path, tmp_path)
    assert speech.corpus_durations(corpus) == pytest.approx([length / 16_000 for length in lengths[:3]])


def test_ratios_are_those_of_a_round(script):
    row = script("measuring").compare("x", [2.0, 8.0, 3.0], [1.0, 2.0, 3.0], "s", "")
    assert (row.ours, row.peer, row.ratio, row.lowest, row.highest) == (3, 2, 2, 1, 4)


def test_training(script, tmp_path):
    rows = ["stage 1", "stage 2", "head alone, second epoch on"]
    script("training").main(tmp_path / "training", utterances=12, row=rows, **TINY)
    assert list(rows_of(tmp_path / "training")) == rows


@pytest.mark.campaign
def test_memory(script, tmp_path):
    script("memory").main(tmp_path / "memory", utterances=10, stage=["stage 2"], **TINY)
    rows = rows_of(tmp_path / "memory")
    assert list(rows) == ["peak, stage 2"] and rows["peak, stage 2"]["ours"] > 100


def test_forward(script, tmp_path):
    script("forward").main(tmp_path / "forward", encoder=["wavlm"], seconds=0.5, **TINY)
    assert list(rows_of(tmp_path / "forward")) == ["whole forward, wavlm"]


def test_layers(script, tmp_path):
    script("layers").main(tmp_path / "layers", seconds=0.5, **TINY)
    rows = rows_of(tmp_path / "layers")
    assert [what.partition(",")[0] for what in rows] == ["forward", "stage 2", "stage 2"]
    assert all(row["ours"] > 0 and row["peer"] > 0 for row in rows.values())


def test_prediction(script, tmp_path):
    script("prediction").main(tmp_path / "prediction", recordings=6, **TINY)
    rows = rows_of(tmp_path / "prediction")
    assert list(rows) == ["prediction, fp32", "prediction, bf16", "prediction, int8"]
    assert rows["prediction, fp32"]["remark"].startswith("100 % of labels the same, logits within")


def test_frontier(script, tmp_path, recipe_file):
    short = ["stages.metadata=null", "stages.emotion.epochs=1", "data.speed_factors=[1.0]"]
    recipe = load_recipe(str(recipe_file), [*short, "data.folds=groups", "data.group_size=1", "data.fold_count=2"])
    report = cross_validate(recipe, tmp_path / "whole", keep_models=True)
    options = {"recordings": 3, "rounds": 1, "threads": 1, "stock_size": "tiny", "forms": ["fp32", "exported fp32"]}
    script("frontier").main([f"whole={tmp_path / 'whole'}"], tmp_path / "frontier", **options)
    stock, ours, exported = json.loads((tmp_path / "frontier.json").read_text())["rows"]
    assert (stock["model"], stock["ua"]) == ("stock wav2vec2 base classifier", None)
    assert (ours["form"], exported["form"]) == ("fp32", "exported fp32")
    assert ours["ua"] == report.measures["ua"] == pytest.approx(exported["ua"])  # the graph gives the model's labels
    assert ours["megabytes"] > 100 and ours["times_ours"] == 1 and min(stock["speed"], exported["speed"]) > 0
    assert (tmp_path / "frontier.png").stat().st_size > 10_000


@pytest.mark.campaign
def test_backends(script, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    script("backends").main(tmp_path / "backends", recordings=6, **TINY)
    rows = rows_of(tmp_path / "backends")
    assert [what.split(",")[0] for what in rows] == ["predict", "peak memory", "exported", "exported"]
    assert rows["predict, onnx against torch"]["remark"].startswith("100 % of labels the same, logits within")


@pytest.mark.campaign
def test_many_files(script, tmp_path):
    speech, many = script("speech"), script("many_files")
    encoder = speech.write_encoder(tmp_path / "encoder", "wav2vec2", "tiny")
    options = {"other": many.ROOT, "encoder": str(encoder), "recordings": 12, "seconds": 0.5, "rounds": 1}
    many.main(output=tmp_path / "many", **options)
    (row,) = rows_of(tmp_path / "many").values()
    assert row["unit"] == "files/s"


@pytest.mark.campaign
def test_start_up(script, tmp_path):
    script("start_up").main(tmp_path / "start-up", **TINY)
    assert list(rows_of(tmp_path / "start-up")) == ["--help", "first label"]


@pytest.mark.campaign
def test_device_and_what_a_large_corpus_costs(script, tmp_path, capsys):
    script("device").main(
        tmp_path / "device",
        encoder=["hubert"],
        size="tiny",
        utterances=10,
        stage=["stage 2"],
        epochs=2,
        matrix=64,
        threads=1,
    )
    rows = json.loads((tmp_path / "device.json").read_text())["rows"]
    assert [row["what"] for row in rows] == [
        "prediction",
        "stage 2, nothing kept",
        "stage 2, filling",
        "stage 2, frozen part kept",
    ]
    assert all(row["encoder"] == "hubert" and row["hours"] > 0 and row["memory"] > 100 for row in rows)
    capsys.readouterr()
    script("cost").main(tmp_path / "device.json", hours=1000, devices=[1, 4])
    assert sum(line.startswith("| hubert | stage 2") for line in capsys.readouterr().out.splitlines()) == 4


def test_operations_of_an_encoder(script, tmp_path):
    """A linear layer has two operations a weight and frame, and the frames are 50 a second."""
    encoder = script("speech").write_encoder(tmp_path, "wav2vec2", "tiny")
    front, lower, upper = script("device").encoder_operations(encoder, None)
    frames = (((4.5 * 16_000 - 10) // 5 + 1 - 8) // 8 + 1 - 8) // 8 + 1
    linear = 2 * (4 * 32 * 32 + 2 * 32 * 64) * frames / 4.5
    attention = 2 * 2 * 32 * frames**2 / 4.5
    assert upper == pytest.approx(2 * (linear + attention)) and lower > linear and front > 0
    assert script("device").encoder_operations(encoder, 2)[2] == pytest.approx(upper)  # none of two is frozen


def test_cost_of_one_device_and_of_four(script):
    cost = script("cost")
    given = cost.Assumptions(hours=864, speeds=3, epochs=10, efficiency=0.5, disk=1.0)
    rates = {"stage 1, nothing kept": 0.1, "stage 1, frozen part kept": 0.1, "stage 2, frozen part kept": 1.0,
             "stage 1, filling": 0.5, "stage 2, filling": 0.5}  # fmt: skip
    assert cost.stage_cost(rates, "stage 1", False, 1, given)["days"] == pytest.approx(1)
    assert cost.stage_cost(rates, "stage 1", False, 4, given)["days"] == pytest.approx(0.5)
    kept = cost.stage_cost(rates, "stage 1", True, 1, given)
    assert kept["days of it filling"] == pytest.approx(864 * 3 / 0.5 / 86_400)
    assert kept["days"] == pytest.approx(1 + kept["days of it filling"])
    assert cost.stage_cost(rates, "stage 1", True, 4, given)["days of it filling"] == kept["days of it filling"]
    # the disk is the bound: 2.2 GB an hour at 1 GB a second
    bound = cost.stage_cost(rates, "stage 2", True, 1, given)
    assert bound["days"] - bound["days of it filling"] == pytest.approx(864 * 10 * 2.21184 / 86_400)
    assert bound["terabytes"] == pytest.approx(864 * 3 * 2.21184 / 1000)
    half = cost.Assumptions(hours=864, speeds=3, epochs=10, efficiency=0.5, disk=1.0, layers=6)
    assert cost.stage_cost(rates, "stage 2", True, 1, half)["terabytes"] == pytest.approx(864 * 3 * 1.10592 / 1000)


def test_a_large_encoder_keeps_more(script):
    cost = script("cost")
    large = cost.Assumptions(1, 1, 1, 1.0, 1.0, *cost.SHAPES["large"])
    assert cost.frame_bytes("stage 2", large) == 8 * 1024 * 4 and cost.frame_bytes("stage 1", large) == 2048


def test_lora_against_full(script, tmp_path):
    pytest.importorskip("peft")
    sizes = {**TINY, "batch": 2, "seconds": 0.5}
    script("lora").main(tmp_path / "lora", encoder=["wavlm"], **sizes)
    rows = rows_of(tmp_path / "lora")
    assert list(rows) == [f"{what} of a step, wavlm" for what in ("memory", "time", "processor time")]
    trained, of = (float(words.split()[0]) for words in rows["time of a step, wavlm"]["remark"].split(" against "))
    assert trained < of


def test_listening(script, tmp_path, capsys):
    pytest.importorskip("psutil")
    listening, speech = script("listening"), script("speech")
    model = speech.write_model(tmp_path / "model", speech.write_encoder(tmp_path / "encoder", "wav2vec2", "tiny"))
    chance = np.random.default_rng(0)
    for number in range(4):
        loud = np.concatenate([np.zeros(8_000), chance.normal(scale=0.1, size=24_000), np.zeros(8_000)])
        soundfile.write(tmp_path / f"{number}.wav", loud, 16_000)
    listening.main(str(model), tmp_path, minutes=0.15, pause=1.0, busy=True)
    found = json.loads(capsys.readouterr().out)
    assert found["turns"] >= 2 and 0.25 <= found["median_s"] <= found["p95_s"]


@pytest.mark.campaign
def test_mistakes(script, capsys):
    script("mistakes").main(rounds=1)
    assert len(capsys.readouterr().out.splitlines()) == 1 + 10
