from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import soundfile
from huggingface_hub import constants, file_download
from loopback_hub import LoopbackHub
from transformers.utils import hub as transformers_hub

from ser_meta.configuration.protocol import Protocol
from ser_meta.configuration.records import from_json
from ser_meta.configuration.report import Report
from ser_meta.modeling_ser_meta import SerMetaConfig

EMOTION = {
    "wa": 0.625,
    "ua": 0.59375,
    "macro_f1": 0.6125,
    "recall": {"neutral": 0.75, "happy": 0.4375, "sad": None},
    "support": {"neutral": 24, "happy": 16, "sad": 0},
    "confusion": [[18, 6, 0], [8, 7, 1], [0, 0, 0]],
    "n": 40,
}
SPEAKERS = {
    "judged": 6, "trained_on": 0, "validated_on": 0, "unknown": 0, "unknown_in_training": 0, "repeated": 0
}  # fmt: skip
INTERVAL = {"speakers": 6, "wa": [0.5125, 0.7375], "ua": [0.5031, 0.6812], "macro_f1": [0.4875, 0.7025]}
CALIBRATION = {
    "ece": 0.1015625,
    "bins": [
        {"confidence": None, "accuracy": None, "n": 0},
        {"confidence": 0.4025, "accuracy": 0.4, "n": 10},
        {"confidence": 0.8015, "accuracy": 0.7005, "n": 30},
    ],
}

PAGE_TASKS = {
    "emotion": {"labels": ["neutral", "happy", "angry"]},
    "gender": {"labels": ["female", "male"]},
    "transcript": {"kind": "ctc"},
    "valence": {"kind": "regression", "range": [1, 5]},
    "speaker": {"labels": ["ann", "bob"]},
}


@pytest.fixture
def report():
    """A report with every part it can have."""
    measured = {
        "speakers": SPEAKERS,
        "target": "emotion",
        "metrics": {
            "gender": {**EMOTION, "wa": 0.9375, "n": 39},
            "speaker": {"not_applicable": "none of the 6 speakers here is among the model's labels"},
            "transcript": {"cer": 0.03125, "wer": 0.1175, "n": 38, "left_out": {"an empty reference": 2}},
            "emotion": {**EMOTION, "interval": INTERVAL, "calibration": CALIBRATION},
        },
        "slices": {
            "style": {"song": {**EMOTION, "wa": 0.5025, "n": 17}, "speech": {"not_applicable": "no reference"}}
        },
        "temperature": {"value": 1.375, "fitted_on": "validation", "n": 53},
        "yardstick": {**EMOTION, "wa": 0.3125},
        "protocol": {
            "corpus": "ravdess",
            "label_map": None,
            "left_out": {},
            "allow_speaker_overlap": False,
            "longest": None,
            "styles": "speech; trained on song, speech",
            "searched": None,
            "folds": "speaker",
            "test_fold": "21+22",
            "validation": "random",
            "epoch_rule": "last",
            "seed": 7,
        },
        "data": {
            "speakers": {"train": 20, "validation": 0, "test": 6},
            "minutes": {"train": 96.1, "validation": 0.0, "test": 2.5},
        },
        "model": {"encoder": "openai/whisper-base", "parameters": 20_590_000},
        "sides": {"train": 1601, "validation": 0, "test": 40},
        "stages": {
            "metadata": {"epochs": 2, "learning_rate": 0.001, "loss_weights": {"gender": 1.0, "transcript": 0.1}},
            "emotion": {"epochs": 6, "seconds": 480.5},
        },
        "versions": {"torch": "2.13.0", "device": "x86_64 CPU", "threads": "1"},
    }
    return from_json(Report, deepcopy(measured), "report")


@pytest.fixture
def small_report(report):
    """The least a report may hold."""
    return Report(target="emotion", protocol=Protocol.untold("own"), metrics={"emotion": report.metrics["emotion"]})


@pytest.fixture
def model_folder(tmp_path):
    tasks = {
        "emotion": {"labels": ["neutral", "happy", "sad"]},
        "gender": {"labels": ["female", "male"]},
        "speaker": {"labels": ["actor-one", "actor-two"]},
        "transcript": {"kind": "ctc"},
    }
    folder = tmp_path / "model"
    SerMetaConfig(tasks=tasks, custom_pipelines={"speech-emotion-recognition": {}}).save_pretrained(folder)
    return folder


def use_endpoint(patch: pytest.MonkeyPatch, url: str) -> None:
    """Has huggingface_hub in this process ask the Hub of this address."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, url)
    patch.setattr(constants, "ENDPOINT", url)
    for module in (constants, file_download):  # older releases have a copy in the other
        patch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)


@pytest.fixture
def no_hub(monkeypatch):
    """After a call of it, no Hub answers."""

    def leave() -> None:
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client's pauses between its attempts
        use_endpoint(monkeypatch, "http://127.0.0.1:9")

    return leave


@pytest.fixture(scope="module")
def hub():
    """A Hub that this process pushes to as `someone`, and nobody else."""
    with LoopbackHub() as hub, pytest.MonkeyPatch.context() as patch:
        use_endpoint(patch, hub.url)
        # a test before may have made it, for another Hub
        patch.setattr(transformers_hub, "_hf_api", None, raising=False)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        # version 4 of Transformers has taken it over when it was imported, and the cache's folder, below
        patch.setattr(transformers_hub, "_is_offline_mode", False, raising=False)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setenv("HF_TOKEN", "hf_writer")
        yield hub


@pytest.fixture
def own_cache(hub, monkeypatch, tmp_path):
    """An empty cache for what is read from the Hub, and a Hub that does not remember what was asked."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(transformers_hub, "TRANSFORMERS_CACHE", str(tmp_path / "cache"), raising=False)
    hub.calm()


@pytest.fixture
def push(command_line, finished_run, own_cache):
    """Runs `ser-meta push` on the finished run, or another folder."""

    def run(repository: str, *options: str, folder: Path = finished_run) -> tuple[int, str, list[str]]:
        return command_line("push", folder, repository, *options)

    return run


@pytest.fixture(scope="session")
def recognise(encoder_folder):
    """The pipeline of a tiny model of every kind of task."""
    import torch

    from ser_meta.modeling_ser_meta import SerMetaModel, SerMetaProcessor, SpeechEmotionPipeline

    torch.manual_seed(0)
    options = {
        "coattention_heads": 2,
        "head_hidden_size": 8,
        "initializer_range": 0.5,
        "calibration_temperature": 30.0,
    }
    model = SerMetaModel.from_backbone_pretrained(str(encoder_folder), PAGE_TASKS, **options).eval()
    processor = SerMetaProcessor.from_backbone_pretrained(str(encoder_folder))
    return SpeechEmotionPipeline(model=model.eval(), processor=processor)


@pytest.fixture(scope="session")
def url(recognise):
    """The address of a running page."""
    from ser_meta.hub_cards.page.space_app import build_page, launch_page

    page = build_page(recognise, "tiny")
    _, url, _ = launch_page(page, server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    yield url
    page.close()


@pytest.fixture(scope="session")
def write_noise(tmp_path_factory):
    """Writes noise of another colour for each seed."""

    def write(seed: int, seconds: float = 1.0):
        noise = np.random.default_rng(seed).normal(size=round(seconds * 16_000))
        path = tmp_path_factory.mktemp("noise") / f"noise-{seed}.wav"
        soundfile.write(path, 0.05 * np.convolve(noise, np.ones(seed + 1), mode="same"), 16_000)
        return path

    return write
