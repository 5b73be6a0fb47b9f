import json

import numpy as np
import soundfile

from ser_meta.training.runs.demo import read_back, sentence, unseen_recording


def test_the_demos_last_lines_are_of_an_unseen_recording_and_a_process_without_the_package(finished_run, tmp_path):
    (tmp_path / "run").symlink_to(finished_run)
    unseen = json.loads((finished_run / "split.json").read_text(encoding="utf-8"))["test"][0]
    recording = tmp_path / "recordings" / "voice" / f"{unseen}.flac"
    recording.parent.mkdir(parents=True)
    soundfile.write(recording, 0.1 * np.random.default_rng(1).normal(size=8_000), 16_000)
    assert unseen_recording(tmp_path) == recording

    heard = read_back(tmp_path / "run" / "model", recording)
    best = heard["emotion"][0]
    assert best["score"] == max(answer["score"] for answer in heard["emotion"])
    told = sentence(heard)
    assert f"emotion {best['label']} ({best['score']:.2f})" in told and f"transcript {heard['transcript']!r}" in told
