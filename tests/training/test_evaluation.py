import json
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def model(finished_run) -> Path:
    return finished_run / "model"


def test_judging_again_gives_the_runs_own_report(command_line, finished_run, model, speech_table):
    judged = ["evaluate", model, "table", speech_table, "--split", finished_run / "split.json"]
    code, printed, _ = command_line(*judged, "--json")
    report, expected = json.loads(printed), json.loads((finished_run / "report.json").read_text())
    assert code == 0
    for task in ("emotion", "gender", "style", "transcript"):
        assert report["metrics"][task] == expected["metrics"][task]
    assert {"wa", "ua", "macro_f1", "recall", "support", "confusion", "n"} <= set(report["metrics"]["emotion"])
    assert report["protocol"]["corpus"] == "table" and report["sides"] == {"test": 12}

    code, printed, _ = command_line("evaluate", model, "table", speech_table)
    assert code == 0 and "UA" in printed and "36" in printed


def test_judging_refuses_what_does_not_fit(
    refused, finished_run, model, speech_table, changed_table, tmp_path, unusable
):
    judge = ["evaluate", model, "table", speech_table]
    refused(["evaluate", model, "tabel", speech_table], "unknown corpus 'tabel'", "table")
    refused([*judge, "colums.audio=path"], "'colums'", "columns")
    refused([*judge, "columns=[a"], "columns=[a")
    refused([*judge, "--split", tmp_path / "no.json"], tmp_path / "no.json", "split.json")
    split = finished_run / "split.json"
    refused([*judge, "--split", split, "--side", "dev"], "--side dev", "train, validation, test")

    audio_root = f"audio_root={speech_table.parent}"
    table = changed_table(lambda row: row | ({"emotion": "bored"} if row["speaker"] == "finn" else {}))
    refused(["evaluate", model, "table", table, audio_root], "finn-", "'bored'", "angry, neutral")
    short = unusable("short")
    table = changed_table(lambda row: row | {"audio": str(short)} if row["audio"].startswith("finn-sad-i") else row)
    judge = ["evaluate", model, "table", table, audio_root, "allow_outside=true"]
    refused(judge, short, "leave it out")
