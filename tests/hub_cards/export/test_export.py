"""`ser-meta export`: a folder that recognises without torch what the model recognises with it."""

import importlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from exportable import CONFIGS, EXTRACTORS, TASKS, assert_same_result, make_model, speech
from tiny_model import RAW
from transformers import SEWConfig

from ser_meta.configuration.errors import UserError
from ser_meta.hub_cards.export.onnx import export_onnx
from ser_meta.hub_cards.export.transformers_js import write_for_transformers_js
from ser_meta.modeling_ser_meta import SerMetaModel, SerMetaProcessor, SpeechEmotionPipeline
from ser_meta.modeling_ser_meta.features_ser_meta import features_of
from ser_meta.modeling_ser_meta.graph_ser_meta import difference
from ser_meta.modeling_ser_meta.processing_ser_meta import character_tokenizer


def load_runner(folder, monkeypatch):
    """What `from runner import Recognizer` gives with the folder on the path."""
    monkeypatch.syspath_prepend(str(folder))
    for name in ("runner", "audio_ser_meta", "segments_ser_meta", "windows_ser_meta"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("runner").Recognizer()


def pretend_processor(runner, facts, flags, monkeypatch):
    """What Linux tells of a processor with these flags alone."""
    facts.write_text(f"flags : {flags}\n")
    monkeypatch.setattr(sys.modules[type(runner).__module__], "PROCESSOR", facts)


@pytest.fixture(scope="module", params=CONFIGS)
def exported(request, tmp_path_factory):
    """A tiny model of each family, its processor, and the folder of its export."""
    trim = 40.0 if request.param in ("hubert", "whisper") else None
    model = make_model(CONFIGS[request.param]())
    processor = SerMetaProcessor(EXTRACTORS[request.param](), character_tokenizer(), trim)
    folder = tmp_path_factory.mktemp("onnx") / "exported"
    assert export_onnx(model, processor, folder)["difference"] < 1e-4
    return model, processor, folder


def test_energies_of_mels_are_the_product_with_their_filters(exported, monkeypatch):
    runner = sys.modules[type(load_runner(exported[2], monkeypatch)).__module__]
    filters = np.array([[1, 0, 0, 0], [2, 1, 0, 0], [1, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 3]])  # the third hears none
    power = np.random.default_rng(0).random((7, len(filters)))
    np.testing.assert_allclose(runner.mel_energies(power, filters), power @ filters, rtol=1e-12)


@torch.no_grad()
def test_logits_are_the_models_alone_and_in_a_batch(exported, monkeypatch):
    model, processor, folder = exported
    runner = load_runner(folder, monkeypatch)
    one, two, three = speech(1.3), speech(0.5, seed=1), speech(0.9, seed=2)
    for recordings in ([one], [two], [one, two, three]):
        output = model(**processor(recordings, sampling_rate=16_000))
        found, mask = runner.logits(recordings), output.frame_mask.numpy()
        assert (found["frame_mask"][:, : mask.shape[1]] == mask).all()
        for name, logits in output.task_logits.items():
            values, expected = found[name], logits.numpy()
            if name == "transcript":
                values, expected = values[:, : mask.shape[1]][mask], expected[mask]
            np.testing.assert_allclose(values, expected, rtol=0, atol=1e-4)


def test_features_are_the_extractors_at_every_length(exported, monkeypatch):
    _, processor, folder = exported
    runner = load_runner(folder, monkeypatch)
    for samples in (720, 880, 3_600, 16_000, 16_160, 16_161):
        recording = speech(2)[:samples].astype(np.float32)
        found, expected = runner._features(recording), features_of(processor.feature_extractor, recording).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


def test_large_weights_lie_beside_their_graphs(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.onnx._internal.exporter._onnx_program._LARGE_MODEL_THRESHOLD", 1)
    monkeypatch.setattr("ser_meta.hub_cards.export.int8.LARGEST", 1)
    model = make_model(CONFIGS["wav2vec2"]())
    processor = SerMetaProcessor(EXTRACTORS["wav2vec2"](), character_tokenizer())
    facts = export_onnx(model, processor, tmp_path / "onnx", int8=True)
    beside = {path.name: path.stat().st_size for path in (tmp_path / "onnx").glob("*.data")}
    assert set(beside) == {"model.onnx.data", "model_quantized.onnx.data"}
    assert facts["bytes"] > beside["model_quantized.onnx.data"] > 1_000
    assert "`*.onnx.data`" in (tmp_path / "onnx" / "README.md").read_text()
    runner, recording = load_runner(tmp_path / "onnx", monkeypatch), {"array": speech(1), "sampling_rate": 16_000}
    recognise = SpeechEmotionPipeline(model=model, processor=processor)
    for flags, tolerance in (("avx2", 1e-4), ("avx512_vnni", 0.05)):
        pretend_processor(runner, tmp_path / "cpuinfo", flags, monkeypatch)
        assert_same_result(runner(recording), recognise(recording), tolerance)
        del runner.session
    with pytest.raises(UserError, match="too large for one file, and for a browser: push without --onnx"):
        write_for_transformers_js(model, processor, tmp_path / "browser")


def test_wide_ranges_are_exported_and_what_is_no_number_is_not(tmp_path):
    model = make_model(CONFIGS["wav2vec2"](), tasks={**TASKS, "valence": {"kind": "regression", "range": [-1e4, 1e4]}})
    processor = SerMetaProcessor(EXTRACTORS["wav2vec2"](), character_tokenizer())
    assert export_onnx(model, processor, tmp_path / "onnx")["difference"] < 1e-5

    class Broken:
        def run(self, outputs, inputs):
            return [np.ones((1, 2), bool), np.array([[np.nan, 1]], np.float32)]

    expected = [torch.ones(1, 2, dtype=torch.bool), torch.tensor([[0.0, 1.0]])]
    assert difference(Broken(), {}, expected) == float("inf")


def test_the_lowest_layers_of_an_encoder(tmp_path):
    for family in ("wav2vec2", "whisper"):
        model = make_model(CONFIGS[family](), encoder_layers=1)
        processor = SerMetaProcessor(EXTRACTORS[family](), character_tokenizer())
        assert export_onnx(model, processor, tmp_path / family)["difference"] < 1e-4


@pytest.mark.parametrize("family", ["wav2vec2", "whisper"])
def test_a_cut_and_narrow_student_in_32_and_in_8_bits(family, tmp_path, monkeypatch):
    widths = ("d_model", "encoder_ffn_dim") if family == "whisper" else ("hidden_size", "intermediate_size")
    model = make_model(CONFIGS[family](), narrow=dict(zip(widths, (8, 24), strict=True)), encoder_layers=1)
    model.save_pretrained(tmp_path / "student")
    model = SerMetaModel.from_pretrained(tmp_path / "student").eval()
    assert (len(model.encoder.layers), model.config.width) == (1, 8)
    processor = SerMetaProcessor(EXTRACTORS[family](), character_tokenizer())
    export_onnx(model, processor, tmp_path / "onnx", int8=True)
    runner = load_runner(tmp_path / "onnx", monkeypatch)
    recognise = SpeechEmotionPipeline(model=model, processor=processor)
    recordings = [{"array": speech(seconds, seed), "sampling_rate": 16_000} for seed, seconds in enumerate((0.8, 2.5))]
    for flags, tolerance in (("avx2", 1e-4), ("avx512_vnni", 0.05)):
        pretend_processor(runner, tmp_path / "cpuinfo", flags, monkeypatch)
        assert (runner.graph.name == "model.onnx") == (flags == "avx2")
        for recording in recordings:
            told = (listener(recording, tasks=["emotion", "valence"]) for listener in (runner, recognise))
            assert_same_result(*told, tolerance)
        del runner.session


def test_results_are_the_pipelines_short_and_long(exported, monkeypatch):
    model, processor, folder = exported
    runner, recognise = load_runner(folder, monkeypatch), SpeechEmotionPipeline(model=model, processor=processor)
    short, long = ({"array": speech(seconds), "sampling_rate": 22_050} for seconds in (0.8, 24.0))
    assert list(runner(short)) == ["emotion", "transcript", "valence"]
    assert_same_result(runner(short), recognise(short))
    assert runner(long)["segments"][-1]["end"] == pytest.approx(24.0 * 16 / 22.05, abs=0.01)
    assert_same_result(runner(long), recognise(long))
    assert_same_result(runner(short, window_seconds=0.3), recognise(short, window_seconds=0.3))


@pytest.mark.parametrize("exported", ["wav2vec2"], indirect=True)
def test_what_is_asked_of_a_recording_is_the_pipelines(exported, monkeypatch, tmp_path):
    model, processor, folder = exported
    runner, recognise = load_runner(folder, monkeypatch), SpeechEmotionPipeline(model=model, processor=processor)
    array = speech(18.0)
    soundfile.write(tmp_path / "call.wav", np.stack([array, array[::-1]], axis=1), 16_000)
    sources = [
        {"raw": np.round(array * 32_767).astype(np.int16), "sampling_rate": 16_000},
        {"array": np.stack([array, array[::-1]], axis=1), "sampling_rate": 16_000},
        {"path": str(tmp_path / "call.wav"), "channel": "right", "start": 1.5, "end": 7},
        {"array": np.full(64_000, 0.001, np.float32), "sampling_rate": 16_000},
        {"array": np.full(320_000, 0.001, np.float32), "sampling_rate": 16_000},
    ]
    for source in sources:
        assert_same_result(runner(source), recognise(source), tolerance=1e-3)
    labels = list(model.config.tasks["emotion"]["labels"])[:2]
    for options in (
        {"threshold": 0.9, "tasks": ["valence", "emotion"]},
        {"labels": labels, "smoothing": 0.0},
        {"top_k": 1, "function_to_apply": "sigmoid"},
    ):
        assert_same_result(runner(sources[1], **options), recognise(sources[1], **options), tolerance=1e-3)
    for wrong in ({"top_k": 0}, {"tasks": ["mood"]}, {"window_seconds": 0}, {"least_familiar": 0.1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            runner(sources[1], **wrong)


def test_the_command_and_the_runner_without_torch(command_line, speech_table, tmp_path):
    model = make_model(CONFIGS["wav2vec2"]())
    processor = SerMetaProcessor(EXTRACTORS["wav2vec2"](), character_tokenizer())
    SpeechEmotionPipeline(model=model, processor=processor).save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    folder = tmp_path / "exported"
    code, printed, errors = command_line("export", tmp_path / "model", "--output", folder, "--json")
    assert (code, errors) == (0, [])
    assert json.loads(printed)["difference"] < 1e-4
    for library in ("torch", "transformers", "ser_meta", "av"):
        (tmp_path / f"{library}.py").write_text(f"raise ImportError('{library} is not here')\n")
    soundfile.write(tmp_path / "silent.wav", np.zeros(0), 16_000)
    recordings = sorted(map(str, speech_table.parent.glob("*.wav")))[:3]
    program = [sys.executable, str(folder / "runner.py"), *recordings, str(tmp_path / "silent.wav")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(program, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"runner.py: {tmp_path / 'silent.wav'} holds no samples: leave it out or record it again"
    ]
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "python runner.py calls/" in text
    assert "`emotion`, `transcript`, `valence`" in text and "`speaker`" not in text
    files = {path.name for path in folder.iterdir()} - {"README.md", "requirements.txt", "__pycache__"}
    assert all(name in text or name.endswith("_ser_meta.py") for name in files)
    (tmp_path / "calls").mkdir()
    for name in (b"f\xc3\xbcr.wav", b"f\xfcr.wav", b"._one.wav", b"two.m4a"):
        Path(os.fsdecode(os.fsencode(tmp_path / "calls") + b"/" + name)).write_bytes(Path(recordings[0]).read_bytes())
    program = [*program[:2], str(tmp_path / "calls"), "--threshold", "1"]
    environment["PYTHONIOENCODING"] = "ascii"
    of_folder = subprocess.run(program, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120)
    (line,) = of_folder.stdout.splitlines()
    assert json.loads(line)["file"] == str(tmp_path / "calls" / "für.wav") and json.loads(line)["abstained"] is True
    unread, unnamed = of_folder.stderr.splitlines()
    assert of_folder.returncode == 0 and "passed over" in unread and "two.m4a" in unread
    assert "passed over" in unnamed and r"f\udcfcr.wav' is a name that is not UTF-8" in unnamed
    recognise = SpeechEmotionPipeline(model=model, processor=processor)
    for line, path in zip(done.stdout.splitlines(), recordings, strict=True):
        assert_same_result(json.loads(line), {"file": path, **recognise(path)})


@pytest.fixture(scope="module")
def of_run(finished_run, tmp_path_factory):
    """A trained model in its pipeline, and the folder of its export in 32 and in 8 bits."""
    model = SerMetaModel.from_pretrained(finished_run / "model").eval()
    processor = SerMetaProcessor.from_pretrained(finished_run / "model")
    folder = tmp_path_factory.mktemp("onnx") / "int8"
    export_onnx(model, processor, folder, int8=True)
    return SpeechEmotionPipeline(model=model, processor=processor), folder


def test_what_is_familiar_is_the_pipelines(of_run, speech_table, tmp_path, monkeypatch):
    recognise, folder = of_run
    runner = load_runner(folder, monkeypatch)
    pretend_processor(runner, tmp_path / "cpuinfo", "fpu avx2", monkeypatch)
    noise = {"array": np.random.default_rng(0).normal(size=8_000).astype(np.float32), "sampling_rate": 16_000}
    recordings = [*sorted(map(str, speech_table.parent.glob("*.wav"))), noise]
    told = [recognise(recording, least_familiar=0.3) for recording in recordings]
    assert len({result["abstained"] for result in told}) == 2
    for recording, result in zip(recordings, told, strict=True):
        assert_same_result(runner(recording, least_familiar=0.3), result)
    cut = {"window_seconds": 0.2, "least_familiar": 0}
    assert_same_result(runner(recordings[0], **cut), recognise(recordings[0], **cut))
    silence = {"array": np.zeros(16_000, np.float32), "sampling_rate": 16_000}
    assert runner(silence, least_familiar=0)["familiar"] is None
    pretend_processor(runner, tmp_path / "cpuinfo", "fpu avx512_vnni", monkeypatch)
    del runner.session
    in_8_bits = [runner(recording, least_familiar=0)["familiar"] for recording in recordings]
    apart = np.abs(np.subtract(in_8_bits, [result["familiar"] for result in told]))
    assert runner.graph.name == "model_quantized.onnx" and 0 < apart.mean() < 0.05
    assert "`--least-familiar 0.05` it abstains" in (folder / "README.md").read_text(encoding="utf-8")


def test_8_bits_keep_the_labels_where_the_processor_gains_by_them(of_run, speech_table, tmp_path, monkeypatch, capfd):
    recognise, folder = of_run
    shutil.copytree(folder, tmp_path / "int8")
    graph = onnx.load(tmp_path / "int8" / "model_quantized.onnx")
    # six products a layer
    assert sum(node.op_type == "ProductIn8Bits" for node in graph.graph.node) == 6 * len(
        recognise.model.encoder.layers
    )
    assert "`model_quantized.onnx`" in (tmp_path / "int8" / "README.md").read_text(encoding="utf-8")
    runner = load_runner(tmp_path / "int8", monkeypatch)
    pretend_processor(runner, tmp_path / "cpuinfo", "fpu avx2 avx512_vnni", monkeypatch)
    assert runner.graph.name == "model_quantized.onnx"
    recordings = sorted(map(str, speech_table.parent.glob("*.wav")))
    found, expected = ([told(path)["emotion"][0]["label"] for path in recordings] for told in (runner, recognise))
    assert len(expected) == 36 and len(set(expected)) > 1
    assert np.mean(np.equal(found, expected)) >= 0.98
    without = load_runner(tmp_path / "int8", monkeypatch)
    pretend_processor(without, tmp_path / "cpuinfo", "fpu avx2", monkeypatch)
    capfd.readouterr()
    assert_same_result(without(recordings[0]), recognise(recordings[0]))  # to what 32 bits give
    assert capfd.readouterr().err.splitlines() == [
        "runner.py: this processor has no VNNI, without which 8 bits may be slower: model.onnx is used, in 32 bits"
    ]
    (tmp_path / "int8" / "model.onnx").unlink()
    assert without.graph.name == "model_quantized.onnx"


def test_many_recordings_come_in_their_order(exported, monkeypatch):
    _, _, folder = exported
    runner = load_runner(folder, monkeypatch)
    recordings = [{"array": speech(0.3 + 0.1 * (number % 3), number), "sampling_rate": 16_000} for number in range(9)]
    expected = [runner(recording) for recording in recordings]
    unusable = {"array": np.zeros(0, np.float32), "sampling_rate": 16_000}
    found = list(runner.many(iter([*recordings[:4], unusable, *recordings[4:]])))
    assert "holds no samples" in str(found.pop(4))
    again = pickle.loads(pickle.dumps(runner))  # for another process
    for one, other in zip(found, expected, strict=True):
        assert_same_result(one, other)
        assert_same_result(again(recordings[expected.index(other)]), other)


def test_what_is_refused(tmp_path, monkeypatch, command_line, finished_run):
    processor = SerMetaProcessor(EXTRACTORS["wav2vec2"](), character_tokenizer())
    with pytest.raises(UserError, match="a model with a sew encoder cannot be exported: it averages frames in pairs"):
        export_onnx(make_model(SEWConfig(**RAW, squeeze_factor=2)), processor, tmp_path / "new")
    model = make_model(CONFIGS["wav2vec2"]())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="full exists and is not empty: choose another --output"):
        export_onnx(model, processor, tmp_path / "full")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r'exporting needs onnxscript: pip install "ser-meta\[onnx\]"'):
        export_onnx(model, processor, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    code, _, errors = command_line("export", finished_run / "model", "--output", tmp_path / "new")
    assert (code, errors) == (2, ['ser-meta: exporting needs onnxscript: pip install "ser-meta[onnx]"'])
