import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.checking.check import check_corpus
from ser_meta.training.checking.findings import corpus_findings, duplicate_findings, find_gaps, text_remarks
from ser_meta.training.corpora.rows import METADATA
from ser_meta.training.runs.preparation import prepare

RATE = 16_000
COLUMNS = ("audio", "utterance_id", "emotion", "speaker", "gender", "style", "transcript", "split")


def voice(seed: int, seconds: float = 0.8) -> np.ndarray:
    """Noise whose colour and loudness change as speech's do, another for each seed."""
    chance = np.random.default_rng(seed)
    size = round(seconds * RATE)
    colour = np.interp(np.linspace(0, 8_000, size // 2 + 1), np.arange(0, 8_001, 250), chance.uniform(0, 1, 33) ** 3)
    loudness = np.interp(np.arange(size), np.linspace(0, size, 9), chance.uniform(0.2, 1, 9))
    samples = np.fft.irfft(np.fft.rfft(chance.normal(size=size)) * colour, size) * loudness
    return 0.3 * samples / np.abs(samples).max()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Recordings with every fault that there is a finding for, and `corpus.csv`."""
    folder = tmp_path_factory.mktemp("corpus")
    for number in range(4):
        soundfile.write(folder / f"good{number}.wav", voice(number), RATE)
    for name, samples, rate in (
        ("header", np.zeros(0), RATE),
        ("short", voice(10)[:399], RATE),
        ("infinite", np.full(RATE, np.nan), RATE),
        ("silent", np.random.default_rng(0).normal(size=RATE) * 1e-4, RATE),
        ("constant", np.full(RATE, 0.5), RATE),
        ("clipped", np.clip(12 * voice(11), -1, 1), RATE),
        ("edges", np.pad(voice(12), (RATE, RATE // 4)), RATE),
        ("telephone", soxr.resample(voice(13), RATE, 8_000), 8_000),
        ("level", np.pad(-0.1 * voice(0), (9_000, 4_321)), RATE),
        ("rate", soxr.resample(voice(1), RATE, 44_100), 44_100),
    ):
        soundfile.write(folder / f"{name}.wav", samples, rate, subtype="FLOAT")
    for name, channels in (
        ("voices", (voice(14), voice(15))),
        ("lame", (voice(16), np.zeros_like(voice(16)))),
        ("mirrored", (voice(17), -0.8 * voice(17))),
        ("level-stereo", (voice(18), 0.7 * voice(18))),
    ):
        soundfile.write(folder / f"{name}.wav", np.stack(channels, axis=1), RATE)
    soundfile.write(folder / "codec.mp3", soxr.resample(voice(2), RATE, 22_050), 22_050)
    (folder / "text.wav").write_text("this is no sound")
    shutil.copy(folder / "good3.wav", folder / "copy.wav")
    shutil.copy(folder / "edges.wav", folder / "rival.wav")
    write_table(folder)
    return folder


def write_table(folder: Path) -> None:
    rows = [
        [file.name, file.stem, "angry", "anna", "female", "acted", "", ""] for file in sorted(folder.glob("*.[wm]*"))
    ]
    for row in rows:
        if row[1] == "rival":
            row[2] = "sad"
    with (folder / "corpus.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


@pytest.fixture(scope="module")
def report(folder):
    return check_corpus("table", str(folder / "corpus.csv"), workers=2)


def details(report, finding) -> dict[str, str]:
    return next((found["details"] for found in report["findings"] if found["finding"] == finding), {})


@pytest.mark.parametrize(
    ("finding", "utterances"),
    [
        ("unreadable", {"text"}),
        ("empty", {"header"}),
        ("too short", {"short"}),
        ("not finite", {"infinite"}),
        ("silent", {"silent", "constant"}),
        ("clipped", {"clipped"}),
        ("silent edges", {"edges", "rival", "level"}),
        ("channels differ", {"voices", "lame", "mirrored"}),
        ("unusual rate", {"telephone", "rate", "codec"}),
        ("same bytes", {"good3", "edges", "rival"}),
        ("same speech", {"level", "rate", "good2"}),
    ],
)
def test_each_fault_is_found_where_it_is_and_nowhere_else(report, finding, utterances):
    assert set(details(report, finding)) == utterances


def test_of_duplicates_the_first_stays_unless_they_disagree(report):
    twins = details(report, "same bytes")
    assert twins["good3"] == "as copy"
    assert twins["edges"] == "as rival, with another emotion" and twins["rival"] == "as edges, with another emotion"
    assert details(report, "same speech") == {"level": "as good0", "rate": "as good1", "good2": "as codec"}


def test_duplicates_disagree_on_what_is_learned():
    rows = [{"utterance_id": name, "emotion": "sad", "speaker": "anna", "mood": mood} for name, mood in ("ax", "by")]
    assert duplicate_findings(rows, [[0, 1]]) == {"b": "as a"}
    assert duplicate_findings(rows, [[0, 1]], "mood") == {
        "b": "as a, with another mood",
        "a": "as b, with another mood",
    }


def test_what_no_training_can_use_and_duplicates_are_left_out_and_the_rest_is_not(report):
    reasons = report["leave_out"]
    left_out = {
        "text",
        "header",
        "short",
        "infinite",
        "silent",
        "constant",
        "good2",
        "good3",
        "edges",
        "rival",
        "level",
    }
    assert set(reasons) == left_out | {"rate"}
    assert details(report, "channels differ")["lame"] == "2 channels, 50% of their energy is not in the mix"
    assert reasons["short"] == "too short: 0.0249 s" and reasons["level"] == "same speech: as good0"


def test_counts_and_durations(report, folder):
    assert report["utterances"] == 22 and report["speakers"] == 1 and report["folds_by"] == "speaker"
    assert report["counts"] == [{"fold": "anna", "gender": "female", "emotions": {"angry": 21, "sad": 1}}]
    assert report["rates"] == {"16000": 18, "22050": 1, "44100": 1, "8000": 1}
    assert report["durations"]["shortest"] == 0 and report["durations"]["median"] == pytest.approx(0.8, abs=0.05)
    readable = [file for file in folder.glob("*.[wm]*") if file.stem != "text"]
    assert report["durations"]["total"] == pytest.approx(sum(soundfile.info(file).duration for file in readable))


def test_any_number_of_workers_gives_the_same_report(report, folder):
    assert check_corpus("table", str(folder / "corpus.csv"), workers=1) == report


@pytest.mark.parametrize(
    ("transcript", "names"),
    [
        ("Well, that's it. [LAUGHTER 2]", set()),
        ("I have 2 dogs.", {"lost text"}),
        ("At 50 %", {"lost text"}),
        ("Zażółć", {"other letters"}),
        ("[LAUGHTER]", {"no words"}),
        ("hello " * 9, {"long transcript"}),
        (None, set()),
    ],
)
def test_transcripts_that_do_not_fit(transcript, names):
    row = {"transcript": transcript, "samples": RATE, "rate": RATE}
    assert {name for name, _ in text_remarks(row)} == names


@pytest.mark.parametrize(("seconds", "told"), [(0.084, True), (0.086, False)])
def test_a_repeated_character_takes_a_frame_more(seconds, told):
    row = {"transcript": "ALL", "samples": round(seconds * 44_100), "rate": 44_100}
    assert bool(list(text_remarks(row))) == told  # 3 frames, or the 4 that A, L, a blank and L take


def test_the_singer_who_is_missing():
    rows = [{"speaker": speaker, "style": style} for speaker in "abc" for style in ("song", "speech")]
    rows += [{"speaker": "d", "style": "speech"}, {"speaker": None, "style": "song"}, {"speaker": "a", "style": "cry"}]
    assert find_gaps(rows, "speaker", "style") == {"speaker d, style": ["no song, which 3 of 4 have"]}


def test_metadata_and_an_official_split(tmp_path):
    rows = [["x", "sad", "anna", "", "train"], ["y", "", "anna", "male", "test"], ["z", "sad", "bela", "male", "test"]]
    for number, (name, *_) in enumerate(rows):
        soundfile.write(tmp_path / f"{name}.wav", voice(number), RATE)
    with (tmp_path / "t.csv").open("w", newline="") as file:
        names = ["audio", "emotion", "speaker", "gender", "part"]
        csv.writer(file).writerows([names, *([f"{name}.wav", *rest] for name, *rest in rows)])
    report = check_corpus("table", str(tmp_path / "t.csv"), ["columns.split=part"], workers=1)
    assert details(report, "shared speakers") == {"anna": "test, train"} and report["leave_out"] == {}
    missing = details(report, "missing metadata")
    assert missing["emotion"] == missing["gender"] == "1 of 3" and missing["style"] == "3 of 3"
    assert report["folds_by"] == "split" and report["counts"] == [
        {"fold": "test", "gender": "male", "emotions": {"-": 1, "sad": 1}},
        {"fold": "train", "gender": None, "emotions": {"-": 0, "sad": 1}},
    ]


def test_nothing_is_missing_that_a_recipe_does_not_learn():
    rows = [{**dict.fromkeys(METADATA), "utterance_id": name, "emotion": "sad", "speaker": "anna"} for name in "xy"]
    assert {"gender", "style", "transcript"} < set(corpus_findings(rows)["missing metadata"])
    assert corpus_findings(rows, ["emotion", "gender"])["missing metadata"] == {"gender": "2 of 2"}


def test_the_command_prints_and_writes(command_line, folder, report, tmp_path):
    output, quarantine = tmp_path / "report.json", tmp_path / "quarantine.json"
    arguments = ["check", "table", folder / "corpus.csv", "--output", output, "--quarantine", quarantine]
    code, printed, errors = command_line(*arguments, "--workers", "2")
    assert code == 1 and "leave out 12 of 22 utterances" in printed and "reading" in "\n".join(errors)
    assert json.loads(output.read_text()) == report
    content = json.loads(quarantine.read_text())
    assert content == {"kind": "quarantine", "corpus": "table", "utterances": report["leave_out"]}
    code, printed, _ = command_line("check", "table", folder / "corpus.csv", "--json")
    assert json.loads(printed) == report


def test_the_environment_stays_what_it_was(folder):
    environment, before = os.environ, dict(os.environ)
    check_corpus("table", str(folder / "corpus.csv"), workers=1)
    assert os.environ is environment and dict(environment) == before


def test_the_command_refuses_before_it_reads(refused, folder):
    refused(["check", "ravdes", folder], "unknown corpus 'ravdes'", "ravdess")
    refused(["check", "table", folder / "corpus.csv", "nonsense=1"], "unknown option 'nonsense'")
    refused(["check", "table", folder / "corpus.csv", "--output", "/nowhere/x.json"], "/nowhere is no folder")


@pytest.fixture
def leaking(speech_table, changed_table, tmp_path) -> list[str]:
    """Settings of the tiny recipe whose last test recording is a copy of one that is trained on."""
    copy = shutil.copy(speech_table.parent / "anna-sad-scripted.wav", tmp_path / "innocent.wav")
    table = changed_table(lambda row: row | ({"audio": str(copy)} if row["audio"].startswith("finn-sad-s") else {}))
    return [
        f"data.root={table}",
        f"data.options.audio_root={speech_table.parent}",
        "data.options.allow_outside=true",
    ]


def test_training_refuses_a_recording_that_it_is_judged_on(refused, recipe_file, leaking, tmp_path):
    arguments = ["train", recipe_file, *leaking, "data.allow_speaker_overlap=true", "--output", tmp_path / "run"]
    refused(arguments, "anna-sad-scripted.wav (train side)", "innocent.wav (test side)", "data.quarantine=FILE")


def test_a_quarantine_is_on_no_side(recipe_file, leaking, tmp_path, caplog):
    path, copy = tmp_path / "quarantine.json", str(tmp_path / "innocent.wav")
    path.write_text(json.dumps({"kind": "quarantine", "utterances": {copy: "same bytes", "stranger": "silent"}}))
    sides = prepare(load_recipe(str(recipe_file), [*leaking, f"data.quarantine={path}"])).utterances()
    assert [len(names) for names in sides.values()] == [24, 0, 11] and copy not in sides["test"]
    assert f"{path}: 1 of its utterances are not in the corpus, such as stranger" in caplog.text


@pytest.mark.parametrize("content", [None, "no JSON", "[]", '{"kind": "check"}'])
def test_a_file_that_is_no_quarantine(recipe_file, tmp_path, content):
    path = tmp_path / "quarantine.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"data\.quarantine=.*--quarantine"):
        prepare(load_recipe(str(recipe_file), [f"data.quarantine={path}"]))


def test_ravdess_lacks_a_singer_and_has_one_recording_twice(shared, tmp_path):
    for actor in (shared / "data" / "ravdess").glob("*/Actor_[01][78]"):
        (tmp_path / actor.parent.name).mkdir(exist_ok=True)
        (tmp_path / actor.parent.name / actor.name).symlink_to(actor)
    report = check_corpus("ravdess", str(tmp_path))
    assert report["speakers"] == 4 and report["utterances"] == 3 * 104 + 60
    assert details(report, "gaps")["speaker 18, style"] == "no song, which 3 of 4 have"
    assert report["leave_out"] == {"03-01-03-01-02-02-07": "same bytes: as 03-01-03-01-02-01-07"}
    assert details(report, "silent edges")["03-01-01-01-01-01-07"].endswith("after")


@pytest.mark.parametrize(("outlier", "found"), [(29.0, False), (31.0, True)])
def test_a_recording_far_longer_than_the_rest_is_told(tmp_path, outlier, found):
    lengths = [0.5] * 11 + [outlier]
    rows = [["audio", "emotion"]]
    for number, seconds in enumerate(lengths):
        soundfile.write(tmp_path / f"{number}.wav", voice(number, seconds), RATE)
        rows.append([f"{number}.wav", "angry"])
    with (tmp_path / "corpus.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    told = details(check_corpus("table", str(tmp_path / "corpus.csv"), workers=1), "far longer")
    assert told == ({"11.wav": "31.0 s, where nine of ten last at most 0.5 s"} if found else {})
