"""Twenty thousand recordings in one call: the memory stays as it is, and every row is there."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import soundfile
from tiny_model import save_tiny_model

FEW, MANY = 2_000, 20_000
GROWTH = 64  # MB, of which the names take a few


@pytest.mark.campaign
def test_memory_is_flat_over_twenty_thousand_files(tmp_path):
    model = save_tiny_model(tmp_path / "model")
    chance = np.random.default_rng(0)
    for number in range(10):
        samples = chance.normal(0, 0.1, 8_000 + 160 * number)
        soundfile.write(tmp_path / f"{number}.flac", samples, 16_000)
    peaks = [peak_of(model, tmp_path, count) for count in (FEW, MANY)]
    print(f"peak memory: {FEW} files {peaks[0]:.0f} MB, {MANY} files {peaks[1]:.0f} MB")
    assert peaks[1] - peaks[0] < GROWTH


def peak_of(model: Path, folder: Path, count: int) -> float:
    """The most memory, in MB, that any call so far has taken."""
    recordings, parts = folder / f"all-{count}", folder / f"parts-{count}"
    recordings.mkdir()
    for number in range(count):
        (recordings / f"{number:05}.flac").hardlink_to(folder / f"{number % 10}.flac")
    command = [sys.executable, "-m", "ser_meta.training", "predict", model, recordings, "--parquet", parts]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stderr.splitlines()
    print(told[-1])
    files = pyarrow.parquet.read_table(parts, columns=["file"])["file"].to_pylist()
    assert files == sorted(map(str, recordings.iterdir()))
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
