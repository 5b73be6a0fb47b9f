"""Every text that a user, a corpus or a run hands over: an original of each, and who reads it."""

import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import RunFolder
from ser_meta.training.corpora import load_corpus, load_rows
from ser_meta.training.corpora.espeak import VERSION
from ser_meta.training.corpora.mapping import map_labels
from ser_meta.training.corpora.quarantine import leave_out
from ser_meta.training.planning.evaluation import read_side

RECORDINGS = (
    *("a.wav", "b.wav", "AudioWAV/1001_IEO_ANG_HI.wav", "AudioWAV/1040_ITH_SAD_X.wav", "samples/EB0_fear_2.wav"),
    *("train_splits/dia0_utt0.wav", "train_splits/dia0_utt1.wav", "Audios/MSP-PODCAST_0001_0008.wav"),
    *("Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav", "0011/Angry/0011_000001.wav"),
    *("bea_Amused/amused_1-15_0001.wav", "speech/one.wav"),
)
RECIPE = """
extends: demo
data:
  corpus: table
  root: speech.csv
  options: {columns: {audio: file, emotion: label}}
  label_map: {emotion: {calm: neutral, disgust: null}}
  group_size: 2
  test_fold: "1"
  speed_factors: [0.8, 1.0, 1.2]
model:
  encoder: demo-encoder
  auxiliary_tasks: [gender, speaker, style, transcript]
  labels: {emotion: [angry, sad]}
stages:
  emotion:
    loss_weights: {emotion: 1.0, gender: 0.9}
    epochs: 2
    freeze_layers: third
seed: 3
"""
TABLE = "audio,emotion,speaker,gender,age,transcript\na.wav,angry,anna,female,31,I see.\nb.wav,sad,bela,male,,\n"
LINES = '{"audio": "a.wav", "emotion": "angry", "age": 31}\n{"audio": "b.wav", "emotion": "sad", "age": null}\n'
EVALUATION = "[0.0 - 1.5]\tSes01F_impro01_F000\tneu\t[2.5, 3.0, 2.5]\nC-E1:\tNeutral;\t()\n"
MELD = """Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID
1,Oh.,Joey,joy,positive,0,0
2,So?,Ross,anger,negative,0,1
"""
PODCAST = """FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set
MSP-PODCAST_0001_0008.wav,N,2.2,4.0,2.6,30,Male,Test1
"""
ACTORS = """"ActorID","Age","Sex","Race","Ethnicity"
1001,51,"Male","Caucasian","Not Hispanic"
1040,42,"Male","Unknown",""
"""
NEMO = """file_id\temotion\traw_text\tspeaker_id\tgender\tage
EB0_fear_2.wav\tfear\tGdzie jest "mój" kot?\tEB0\tfemale\t27
"""
ESPEAK = {
    "options": {"version": VERSION, "voices": "demo", "utterances": 1, "seed": 0},
    "rows": [{"audio": "one.wav", "utterance_id": "one", "emotion": "sad", "speaker": "m1", "gender": "male"}],
}


class Loader(NamedTuple):
    """Where a file lies in the folder that the reader works in, what it holds, and who reads it."""

    path: str
    original: str
    read: Callable[[Path], Any]


def _dataset() -> Any:
    return load_corpus("table", FOLDER / "good.csv")


LOADERS = {
    "recipe (YAML)": Loader("recipe.yaml", RECIPE, lambda path: load_recipe(str(path))),
    "quarantine (JSON)": Loader(
        "quarantine.json",
        json.dumps({"kind": "quarantine", "corpus": "table", "utterances": {"a.wav": "silent", "c.wav": "empty"}}),
        lambda path: leave_out(_dataset(), path),
    ),
    "split (JSON)": Loader(
        "split.json",
        json.dumps({"train": ["a.wav", "c.wav"], "validation": [], "test": ["b.wav"]}),
        lambda path: read_side(path, "test"),
    ),
    "state (JSON)": Loader(
        "state.json",
        json.dumps({"metadata": {"seconds": 3.5, "log_history": [{"loss": 1.0}]}}),
        lambda path: RunFolder(path.parent).read_state(),
    ),
    "table (CSV)": Loader("table.csv", TABLE, lambda path: load_corpus("table", path)),
    "table (JSON lines)": Loader("table.jsonl", LINES, lambda path: load_corpus("table", path)),
    "labels of a table (CSV)": Loader(
        "labels.csv",
        TABLE,
        lambda path: map_labels(load_rows("table", path), {"emotion": {"sad": "unhappy"}}, "emotion", "table"),
    ),
    "CREMA-D's actors (CSV)": Loader("VideoDemographics.csv", ACTORS, lambda path: load_corpus("cremad", path.parent)),
    "MELD's table (CSV)": Loader("train_sent_emo.csv", MELD, lambda path: load_corpus("meld", path.parent)),
    "MSP-Podcast's labels (CSV)": Loader(
        "Labels/labels_consensus.csv", PODCAST, lambda path: load_corpus("msp_podcast", path.parents[1])
    ),
    "nEMO's table (TSV)": Loader("data.tsv", NEMO, lambda path: load_corpus("nemo", path.parent)),
    "IEMOCAP's evaluation (text)": Loader(
        "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt", EVALUATION, lambda path: load_corpus("iemocap", FOLDER)
    ),
    "ESD's texts (text)": Loader(
        "0011/0011.txt",
        "0011_000001\tSeven boats left, one stayed.\tAngry\n",
        lambda path: load_corpus("esd", path.parent),
    ),
    "EmoV-DB's prompts (text)": Loader(
        "bea_Amused/cmuarctic.data",
        '( arctic_a0001 "Author of the danger trail." )\n',
        lambda path: load_corpus("emov_db", path.parent),
    ),
    "the demo corpus's list (JSON)": Loader(
        "speech/manifest.json", json.dumps(ESPEAK), lambda path: load_corpus("espeak", path.parent, utterances=1)
    ),
}

_kept = tempfile.TemporaryDirectory()  # as long as the process
FOLDER = Path(_kept.name).resolve()


def set_up() -> None:
    """Writes the recordings that the originals name, and one good table."""
    logging.disable(logging.CRITICAL)
    for name in RECORDINGS:
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(FOLDER / name, np.full(800, 0.1), 16_000)
    for loader in LOADERS.values():
        (FOLDER / loader.path).parent.mkdir(parents=True, exist_ok=True)
    (FOLDER / "good.csv").write_text(TABLE)


def read_text(item: tuple[str, bytes] | None) -> str:
    """What a loader makes of a file's bytes, in a few words; without an item everything is got ready."""
    if item is None:
        set_up()
        return " ".join([read_text((kind, loader.original.encode())) for kind, loader in LOADERS.items()])
    kind, content = item
    path = FOLDER / LOADERS[kind].path
    path.write_bytes(content)
    return type(LOADERS[kind].read(path)).__name__
