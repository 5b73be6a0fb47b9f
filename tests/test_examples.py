import runpy
from itertools import pairwise
from pathlib import Path

from transformers import AutoFeatureExtractor, Wav2Vec2Model

from ser_meta.training.preparation import PACKAGED_ENCODERS

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
    truth = script["string_together"]("table", str(speech_table), 0.1, tmp_path / "long.wav")
    assert truth[0][0] == 0 and 6 <= truth[-1][1] < 7
    assert all(before[1] == after[0] for before, after in pairwise(truth))
    recognise = script["load"](finished_run / "model")
    facts = script["measure"](recognise, tmp_path / "long.wav", truth, 0.4, 0.2, 4)
    assert facts["peak_megabytes"] >= facts["peak_megabytes_before"] > 100 and facts["seconds"] > 0
    assert facts["joins"] == sum(before[2] != after[2] for before, after in pairwise(truth))


def test_what_the_benchmark_counts_as_found():
    fit = runpy.run_path(str(EXAMPLES / "benchmarks" / "long_recording.py"))["fit"]
    truth = [(0, 4, "sad"), (4, 8, "sad"), (8, 12, "happy"), (12, 16, "sad")]
    assert fit(truth, [(0, 9, "sad"), (9, 16, "happy")], 1.0) == {
        "joins": 2,
        "joins_found_within_a_hop": 0.5,
        "boundaries": 1,
        "boundaries_within_a_hop_of_a_join": 1.0,
        "label_by_time": 11 / 16,
    }
