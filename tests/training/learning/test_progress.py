from types import SimpleNamespace

import pytest

from ser_meta.training.learning import progress


@pytest.fixture
def seconds(monkeypatch):
    """A clock that stands until it is told."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    return clock


def lines_of(lines: progress.StageLines, step: int, logs: dict, capsys) -> str:
    state = SimpleNamespace(is_world_process_zero=True, epoch=step / 10, global_step=step, max_steps=100)
    lines.on_log(None, state, None, logs=logs)
    return capsys.readouterr().err


def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end(seconds, capsys):
    lines = progress.StageLines("emotion")
    assert lines_of(lines, 1, {"loss": 2.0}, capsys) == ""
    seconds.now = 10.0
    assert lines_of(lines, 2, {"loss": 1.0}, capsys) == "stage emotion, epoch 0.20, step 2 of 100: loss 1.000\n"
    seconds.now = 19.0
    assert lines_of(lines, 3, {"loss": 0.9}, capsys) == ""
    assert lines_of(lines, 100, {"loss": 0.5}, capsys).endswith("step 100 of 100: loss 0.500\n")


def test_each_validation_gets_a_line(seconds, capsys):
    lines = progress.StageLines("emotion")
    assert "eval_ua 0.700" in lines_of(lines, 1, {"eval_ua": 0.7}, capsys)
