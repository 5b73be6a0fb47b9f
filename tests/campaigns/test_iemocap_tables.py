"""The paper's four tables on a tree of IEMOCAP's true size with speech in it, as a licence holder makes them.

The long one: pytest -m campaign -s tests/campaigns/test_iemocap_tables.py
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from iemocap_release import name_utterances, plan_utterances, write_release

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.corpora.espeak_synthesis import SAMPLING_RATE, Speech, synthesize
from ser_meta.training.planning.tables import find_table
from ser_meta.training.studies.ablation import plan_table

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "reproduce_iemocap.sh"
ENCODERS = {
    "iemocap-wav2vec2-base": "facebook/wav2vec2-base",
    "iemocap-hubert-base": "facebook/hubert-base-ls960",
    "iemocap-wavlm-base": "microsoft/wavlm-base",
}
VOICES = {"F": "en-us+f{}", "M": "en-us+m{}"}  # numbered by session
MANNERS = {"neutral": (150, 50, 40), "happy": (175, 65, 80), "angry": (190, 55, 60), "sad": (120, 40, 20)}
SENTENCES = ("Tomatoes again?", "We would never sail there in the morning.", "It is only a coffee and some tea.")
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 8, 8),
    "conv_stride": (5, 8, 8),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
SETTINGS = [
    *(f"stages.{stage}.epochs=0.001" for stage in ("metadata", "emotion")),
    *("model.coattention_heads=2", "model.head_hidden_size=8", "model.classifier_hidden_size=8"),
    *("data.speed_factors=[1.0]", "precision=fp32", "workers=0"),
]


def speak(folder: Path) -> dict[tuple[str, str, int], Path]:
    """A recording by speaker, class and sentence; what is outside the four classes sounds neutral."""
    places = [
        (f"Ses0{session}{letter}", emotion, number)
        for session in range(1, 6)
        for letter in VOICES
        for emotion in MANNERS
        for number in range(len(SENTENCES))
    ]
    speeches = [
        Speech(SENTENCES[number], VOICES[speaker[-1]].format(speaker[-2]), *MANNERS[emotion])
        for speaker, emotion, number in places
    ]
    paths = {}
    for place, samples in zip(places, synthesize(speeches), strict=True):
        paths[place] = folder / f"{'-'.join(map(str, place))}.wav"
        soundfile.write(paths[place], samples, SAMPLING_RATE)
    return paths


def write_spoken(root: Path, turns) -> None:
    """The folder of a release with these turns, each a link to speech."""
    root.mkdir(parents=True)
    (root.parent / "speech").mkdir()
    spoken = speak(root.parent / "speech")

    def record(turn, path):
        emotion = turn.emotion if isinstance(turn.emotion, str) else "neutral"
        os.link(spoken[turn.speaker, emotion, turn.words % len(SENTENCES)], path)

    write_release(root, turns, record)


def cache_encoders(folder: Path) -> None:
    """Tiny encoders under the names of the paper's, as the Hub's client keeps what it has fetched."""
    import torch
    from transformers import (
        HubertConfig,
        HubertModel,
        Wav2Vec2Config,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2Model,
        WavLMConfig,
        WavLMModel,
    )

    kinds = [(Wav2Vec2Config, Wav2Vec2Model), (HubertConfig, HubertModel), (WavLMConfig, WavLMModel)]
    for name, (config, model) in zip(ENCODERS.values(), kinds, strict=True):
        torch.manual_seed(0)
        kept = folder / f"models--{name.replace('/', '--')}"
        (kept / "refs").mkdir(parents=True)
        (kept / "refs" / "main").write_text("tiny")
        model(config(**TINY)).save_pretrained(kept / "snapshots" / "tiny")
        Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(kept / "snapshots" / "tiny")


def make_tables(turns, folder: Path, recipes: list[str]) -> Path:
    """Runs the script on a release with these turns; the study's folder."""
    write_spoken(folder / "IEMOCAP_full_release", turns)
    cache_encoders(folder / "hub")
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"HF_HUB_CACHE": str(folder / "hub"), "HF_HUB_OFFLINE": "1", "PATH": programs}
    environment["RECIPES"] = " ".join(recipes)
    command = ["bash", SCRIPT, folder / "IEMOCAP_full_release", folder / "study", *SETTINGS]
    subprocess.run(command, env=os.environ | environment, check=True)
    return folder / "study"


def assert_table(study: Path, table: str, recipes: list[str], rows: int, utterances: int) -> None:
    """A table has all rows of each encoder, on all utterances, beside the paper's figures, and its pages."""
    report = json.loads((study / f"table-{table}" / "report.json").read_text(encoding="utf-8"))
    assert {row["encoder"] for row in report["rows"]} == set(recipes) and len(report["rows"]) == len(recipes) * rows
    assert {row["pooled"]["metrics"]["emotion"]["n"] for row in report["rows"]} == {utterances}
    assert report["paper"] and (study / f"table-{table}" / "report.html").is_file()


def test_what_the_tables_take(tmp_path):
    """The numbers of examples/iemocap/README.md."""
    empty = tmp_path / "empty.wav"
    soundfile.write(empty, [0.0] * 800, 16_000)
    turns = name_utterances(plan_utterances())
    write_release(tmp_path / "release", turns, lambda turn, path: os.link(empty, path))
    recipes = {name: load_recipe(name, [f"data.root={tmp_path / 'release'}"]) for name in list(ENCODERS)[:1]}
    trainings, counts = {}, {}
    for table in "1234":
        for runs in plan_table(find_table(table), recipes, tmp_path / "study").values():
            trainings |= {run.folder: run for run in runs}
        counts[table] = len(trainings)
    assert counts == {"1": 15, "2": 30, "3": 35, "4": 110}
    assert len({run.first_stage for run in trainings.values() if run.first_stage}) == 5 * 17


@pytest.mark.campaign
@pytest.mark.parametrize("recipes", [list(ENCODERS), list(ENCODERS)[-1:]], ids=["a hundredth", "true size"])
def test_the_script_makes_every_table(recipes, tmp_path):
    """All encoders on an utterance of each session, class, gender and style; the last encoder on all of them."""
    turns = name_utterances(plan_utterances())
    if len(recipes) > 1:
        turns = turns.groupby(["session", "code", "gender", "style"]).head(1)
    study = make_tables(turns, tmp_path, recipes)
    for table, rows in {"1": 3, "2": 4, "3": 2, "4": 16}.items():
        assert_table(study, table, recipes, rows, int(turns["emotion"].notna().sum()))
