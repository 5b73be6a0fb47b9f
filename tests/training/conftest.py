import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile


@pytest.fixture
def refused(command_line):
    """Asserts that a command is refused: one line on stderr with these parts, nothing on stdout, exit code 2."""

    def check(arguments, *parts) -> None:
        code, printed, errors = command_line(*arguments)
        assert (code, printed, len(errors)) == (2, "", 1), errors
        assert errors[0].startswith("ser-meta: ")
        for part in parts:
            assert str(part) in errors[0], errors[0]

    return check


@pytest.fixture(scope="session")
def write_changed_table(speech_table):
    """Writes a table of the little corpus in which `change` altered a row, a dict; None leaves it out."""

    def write(change, path: Path) -> Path:
        with speech_table.open(encoding="utf-8") as file:
            rows = [changed for row in csv.DictReader(file) if (changed := change(row)) is not None]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


@pytest.fixture
def changed_table(write_changed_table, tmp_path):
    """The same, each test in a folder of its own."""
    return lambda change: write_changed_table(change, tmp_path / "changed.csv")


@pytest.fixture
def another_model(tmp_path) -> Path:
    """A checkpoint that is no speech model."""
    from transformers import BertConfig, BertModel

    folder = tmp_path / "bert"
    config = BertConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def unusable(tmp_path):
    """Writes a file that is no usable recording: `text`, `nothing`, `header`, `short` or `nan`; not one `missing`."""

    def make(what: str, folder: Path = tmp_path) -> Path:
        path = folder / f"{what}.wav"
        samples = {"header": np.zeros(0), "short": np.full(300, 0.1), "nan": np.full(8_000, np.nan)}
        if what in samples:
            soundfile.write(path, samples[what], 16_000, subtype="FLOAT")
        elif what != "missing":
            path.write_text("this is no sound" if what == "text" else "")
        return path

    return make


@pytest.fixture
def make_whisper(tmp_path):
    """Writes a tiny Whisper with random weights."""

    def make() -> Path:
        from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

        sizes = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 4}
        config = WhisperConfig(**sizes, decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64)
        WhisperModel(config).save_pretrained(tmp_path / "whisper")
        WhisperFeatureExtractor().save_pretrained(tmp_path / "whisper")
        return tmp_path / "whisper"

    return make
