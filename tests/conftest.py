import csv
import gc
import os
from pathlib import Path

# before torch is imported: the models of the tests are too small for threads, and nothing is fetched from anywhere
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pandas as pd
import pytest
import soundfile

NOBODY = 65_534  # the user of that name
SHARED = Path(__file__).resolve().parents[2] / "shared"
SPEAKERS = {"anna": "female", "bela": "male", "cleo": "female", "dora": "female", "emil": "male", "finn": "male"}
EMOTIONS = {"angry": 1500.0, "neutral": 600.0, "sad": 200.0}  # the tone of each, in Hz; a woman's is a third higher
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16, 16, 16),
}
RECIPE = """
data:
  corpus: table
  root: {table}
  group_size: 2
  test_fold: 2
model:
  encoder: {encoder}
  coattention_heads: 4
  head_hidden_size: 16
  classifier_hidden_size: 16
  initializer_range: 0.3
stages:
  metadata:
    loss_weights: {{gender: 1.0, speaker: 0.5, style: 0.7, transcript: 0.1}}
    epochs: 2
    encoder_learning_rate: 1.0e-3
    head_learning_rate: 5.0e-3
  emotion:
    loss_weights: {{emotion: 1.0, gender: 0.9, speaker: 0.5, style: 0.7, transcript: 0.1}}
    epochs: 2
    encoder_learning_rate: 1.0e-3
    head_learning_rate: 5.0e-3
    freeze_layers: third
"""


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """Goes into an empty folder, and locks what is named there for whoever runs the tests, root too."""
    root, names = os.name == "posix" and os.geteuid() == 0, []
    tmp_path.chmod(0o777)
    monkeypatch.chdir(tmp_path)

    def lock(name: str) -> None:
        names.append(name)
        os.chmod(name, 0)
        if root:
            os.seteuid(NOBODY)
        if os.access(name, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
            pytest.skip("nothing can be locked here")

    yield lock
    if root:
        os.seteuid(0)
    for name in names:
        os.chmod(name, 0o700)


def leave_imports_alone() -> None:
    """What is imported by now is never looked through for garbage again, which the Trainer does after every stage."""
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    leave_imports_alone()


@pytest.fixture(scope="module", autouse=True)
def imports_left_alone() -> None:
    leave_imports_alone()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real recordings and weights beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"no real recordings: {SHARED} does not exist")
    return SHARED


@pytest.fixture(scope="session")
def make_encoder(tmp_path_factory):
    """Writes a wav2vec2-type encoder of six layers with random weights; `settings` are of its config."""

    def make(**settings) -> Path:
        from tiny_model import save_tiny_encoder

        return save_tiny_encoder(tmp_path_factory.mktemp("encoder"), **{**SIZES, **settings})

    return make


@pytest.fixture(scope="session")
def encoder_folder(make_encoder) -> Path:
    """A tiny encoder with the dropouts and the SpecAugment that encoders have by default."""
    return make_encoder()


@pytest.fixture(scope="session")
def steady_settings(make_encoder) -> list[str]:
    """Overrides of the tiny recipe: the encoder without SpecAugment, and no dropout anywhere."""
    dropouts = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout")
    encoder = make_encoder(**dict.fromkeys(dropouts, 0.0), apply_spec_augment=False)
    return [f"model.encoder={encoder}", "model.dropout=0"]


@pytest.fixture(scope="session")
def speech_table(tmp_path_factory) -> Path:
    """A CSV table of 36 recordings of 0.3 to 0.6 s: six speakers, three emotions, two styles, some cells empty."""
    folder = tmp_path_factory.mktemp("speech")
    chance = np.random.default_rng(0)
    rows = []
    for speaker, gender in SPEAKERS.items():
        for emotion, pitch in EMOTIONS.items():
            for style in ("improvised", "scripted"):
                name = f"{speaker}-{emotion}-{style}.wav"
                seconds = np.arange(int(16_000 * chance.uniform(0.3, 0.6))) / 16_000
                tone = np.sin(2 * np.pi * pitch * (1.25 if gender == "female" else 1) * seconds)
                soundfile.write(folder / name, 0.1 * tone + 0.01 * chance.normal(size=len(seconds)), 16_000)
                rows.append([name, emotion, speaker, gender, style, f"I am {emotion[:3]}."])
    rows[1][3] = rows[4][5] = rows[9][4] = ""
    table = folder / "speech.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["audio", "emotion", "speaker", "gender", "style", "transcript"])
        writer.writerows(rows)
    return table


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory, speech_table, encoder_folder) -> Path:
    """Both stages of the paper on the little corpus with the tiny encoder: 24 recordings train, 12 test."""
    path = tmp_path_factory.mktemp("recipes") / "tiny.yaml"
    path.write_text(RECIPE.format(table=speech_table, encoder=encoder_folder), encoding="utf-8")
    return path


@pytest.fixture
def network_cache(tmp_path_factory, monkeypatch) -> None:
    """Networks for other backends are kept where all tests find them, so that one that many need is written once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, recipe_file) -> Path:
    """The folder of a run of `recipe_file`, whose model answers otherwise to other sounds. To be read only."""
    from ser_meta.configuration.recipe_files import load_recipe
    from ser_meta.training.runs.stages import run_stages

    folder = tmp_path_factory.mktemp("runs") / "finished"
    run_stages(load_recipe(str(recipe_file)), folder)
    _require_hearing(folder)
    return folder


def _require_hearing(run: Path) -> None:
    """A model that answers alike to everything would let pass whatever is asked of its answers."""
    import torch

    from ser_meta.training.runs.loading import load_model

    predictions = pd.read_parquet(run / "predictions.parquet")
    assert predictions["emotion_predicted"].nunique() >= 2
    assert predictions["transcript_predicted"].replace("", np.nan).nunique() >= 2
    scores = np.stack(predictions["emotion_scores"].tolist())
    assert np.ptp(scores, axis=0).max() > 0.3
    model, processor = load_model(run / "model")
    noise = 0.1 * np.random.default_rng(0).normal(size=8_000).astype("float32")
    with torch.inference_mode():
        heard = model(**processor(noise, sampling_rate=16_000)).logits.softmax(-1)
    assert np.abs(scores - heard.numpy()).max(axis=1).min() > 0.02


@pytest.fixture
def command_line(monkeypatch, capfd):
    """Runs `ser-meta` with these arguments in the test: its exit code, what it printed, the lines on stderr."""
    from ser_meta.training.__main__ import main

    def run(*arguments: object) -> tuple[int, str, list[str]]:
        monkeypatch.setattr("sys.argv", ["ser-meta", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        printed = capfd.readouterr()
        return left.value.code or 0, printed.out, printed.err.splitlines()

    return run
