"""Pushed graphs, run by transformers.js in Node from a Hub on the loopback address; needs node and npm's registry."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub import constants
from loopback_hub import LoopbackHub
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, WhisperConfig, WhisperFeatureExtractor

from ser_meta.hub_cards.export.transformers_js import write_for_transformers_js
from ser_meta.hub_cards.hub.published import published_files
from ser_meta.hub_cards.hub.push import model_files, push
from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel, SerMetaProcessor, SpeechEmotionPipeline
from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer
from ser_meta.training.planning.starting import PACKAGED_ENCODERS
from ser_meta.training.runs.loading import load_model

pytestmark = pytest.mark.campaign

PACKAGE = "@huggingface/transformers@4.3.2"
SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "serving" / "transformers_js.mjs"
TASKS = {
    "emotion": {"labels": ["angry", "happy", "neutral", "sad"]},
    "gender": {"labels": ["female", "male"]},
    "speaker": {"labels": ["one", "two", "three"]},
    "transcript": {"kind": "ctc"},
}


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Path:
    """A folder with the package and the script."""
    if shutil.which("npm") is None:
        pytest.skip("no npm")
    folder = tmp_path_factory.mktemp("node")
    # its dependency for Node fetches a build for GPUs when it is installed, which nothing here needs
    install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", PACKAGE]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode:
        pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr[-300:]}")
    shutil.copy(SCRIPT, folder)
    return folder


def wav2vec2(folder: Path) -> None:
    """The demo's encoder, whose feature extractor hears waveforms."""
    options = {"coattention_heads": 4, "head_hidden_size": 16, "initializer_range": 0.08}
    encoder = str(PACKAGED_ENCODERS["demo-encoder"])
    model = SerMetaModel.from_backbone_pretrained(encoder, TASKS, calibration_temperature=0.2, **options)
    model.save_pretrained(folder)
    SerMetaProcessor.from_backbone_pretrained(encoder).save_pretrained(folder)


def whisper(folder: Path) -> None:
    config = WhisperConfig(
        d_model=64, encoder_layers=3, encoder_attention_heads=4, encoder_ffn_dim=64, vocab_size=60, pad_token_id=0,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    options = {"tasks": TASKS, "coattention_heads": 4, "head_hidden_size": 16, "initializer_range": 0.08}
    model = SerMetaModel(SerMetaConfig(speech_config=config, calibration_temperature=0.2, **options))
    model.save_pretrained(folder)
    SerMetaProcessor(WhisperFeatureExtractor(feature_size=80), character_tokenizer()).save_pretrained(folder)


def wav2vec2_bert(folder: Path) -> None:
    config = Wav2Vec2BertConfig(
        hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, conv_depthwise_kernel_size=7
    )
    options = {"tasks": TASKS, "coattention_heads": 4, "head_hidden_size": 16, "initializer_range": 0.08}
    model = SerMetaModel(SerMetaConfig(speech_config=config, calibration_temperature=0.2, **options))
    model.save_pretrained(folder)
    SerMetaProcessor(SeamlessM4TFeatureExtractor(padding_value=1.0), character_tokenizer()).save_pretrained(folder)


def log_in(hub: LoopbackHub, monkeypatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_writer")


@pytest.mark.parametrize("family", [wav2vec2, whisper, wav2vec2_bert])
def test_transformers_js_gives_the_pipelines_scores(node, family, tmp_path, monkeypatch):
    torch.manual_seed(0)
    family(tmp_path / "model")
    model, processor = load_model(tmp_path / "model")
    graphs = write_for_transformers_js(model, processor, tmp_path / "graphs", ["speaker"])
    files = model_files(
        tmp_path / "model",
        published_files(tmp_path / "model", ["speaker"]) | graphs,
        "---\nlicense: mit\n---\n# A card\n",
    )
    time = np.arange(40_000) / 16_000
    samples = (0.2 * np.sin(2 * np.pi * 220 * time * (1 + 0.1 * np.sin(3 * time)))).astype(np.float32)
    samples += np.random.default_rng(0).normal(scale=0.01, size=len(samples)).astype(np.float32)
    samples.tofile(tmp_path / "recording.f32")
    recognise = SpeechEmotionPipeline(model=model, processor=processor)
    result = recognise({"array": samples, "sampling_rate": 16_000})
    expected = {entry["label"]: entry["score"] for entry in result["emotion"]}
    with LoopbackHub() as hub:
        log_in(hub, monkeypatch)
        push(files, f"someone/{family.__name__}")
        for dtype, tolerance in (("fp32", 1e-3), ("q8", 0.1)):
            command = ["node", SCRIPT.name, f"someone/{family.__name__}", tmp_path / "recording.f32", dtype]
            environment = os.environ | {"HF_ENDPOINT": f"{hub.url}/"}
            done = subprocess.run(command, cwd=node, env=environment, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr[-2000:]
            found = json.loads(done.stdout.splitlines()[-1])
            difference = max(abs(found[label] - expected[label]) for label in expected)
            print(f"\n{family.__name__} {dtype}: scores differ from the pipeline's by up to {difference:.1e}")
            assert difference < tolerance
    assert max(expected.values()) - min(expected.values()) > 0.05


def test_the_cards_snippet_gives_the_pipelines_scores(node, finished_run, speech_table, command_line, monkeypatch):
    recording = speech_table.parent / "emil-angry-scripted.wav"
    samples, rate = soundfile.read(recording, dtype="float32")
    samples.tofile(node / "snippet.f32")
    model, processor = load_model(finished_run / "model")
    result = SpeechEmotionPipeline(model=model, processor=processor)({"array": samples, "sampling_rate": rate})
    with LoopbackHub() as hub:
        log_in(hub, monkeypatch)
        code, _, errors = command_line("push", finished_run, "someone/snippet", "--onnx")
        assert code == 0, errors
        card = hub.repositories["someone/snippet"].tree()["README.md"].decode()
        snippet = re.search(r"```js\n(.*?)```", card, re.DOTALL)[1]
        before = (
            "import { readFileSync } from 'node:fs'; import { env } from '@huggingface/transformers';\n"
            f"env.remoteHost = '{hub.url}/'; const bytes = readFileSync('snippet.f32');\n"
            "const samples = new Float32Array(new Uint8Array(bytes).buffer);\n"
        )
        shown = snippet.replace("console.log(", "console.log(JSON.stringify([").replace("));\n", ")]));\n")
        (node / "snippet.mjs").write_text(before + shown)
        done = subprocess.run(["node", "snippet.mjs"], cwd=node, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    labels, scores = json.loads(done.stdout.splitlines()[-1])
    found = {labels[str(place)]: score for place, score in enumerate(scores)}
    difference = max(abs(found[entry["label"]] - entry["score"]) for entry in result["emotion"])
    print(f"\nthe card's snippet: scores differ from the pipeline's by up to {difference:.1e}")
    assert difference < 1e-3
