"""Load: a page with many visitors, some of them ill-behaved, and a prediction over thousands of files, some no sound.

The long ones: pytest -m campaign -s tests/campaigns/test_load.py
"""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
import soundfile

from ser_meta.training.prediction.recognition import load_pipeline

KEPT_SECONDS = 30  # instead of ten minutes
SERVE = f"""
import sys
from ser_meta.hub_cards.page import space_app
from ser_meta.training.__main__ import main

space_app.KEPT_SECONDS = {KEPT_SECONDS}
sys.argv = ["ser-meta", "serve", *sys.argv[1:]]
main()
"""
VISITS = ("good",) * 6 + ("slow", "no sound", "cut off", "no json", "a path", "leaves")
UNUSABLE = {
    "no sound": b"this is no sound",
    "nothing": b"",
    "a header alone": np.zeros(0),
    "too short": np.full(300, 0.1),
    "not a number": np.full(8_000, np.nan),
}


class Visitors:
    """Visitors of the page at `url`; each `visit` says whether the page did what it should."""

    def __init__(self, url: str, recordings: list[Path], expected: list[dict], text: Path):
        self.url, self.recordings, self.expected, self.text = url, recordings, expected, text

    def visit(self, number: int) -> tuple[str, bool]:
        kind = VISITS[number % len(VISITS)]
        return kind, getattr(self, kind.replace(" ", "_"))(number)

    def good(self, number: int) -> bool:
        return self._is_right(self._upload(self._recording(number)), number)

    def slow(self, number: int) -> bool:
        return self._is_right(self._upload(trickle(self._recording(number))), number)

    def no_sound(self, number: int) -> bool:
        return "event: error" in self._answer(self._upload(self.text.read_bytes()))

    def cut_off(self, number: int) -> bool:
        address = urlsplit(self.url)
        with socket.create_connection((address.hostname, address.port)) as visitor:
            visitor.sendall(
                b"POST /gradio_api/upload HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                b'Content-Length: 9999\r\n\r\n--b\r\nContent-Disposition: form-data; name="files"; filename="a.wav"'
                b"\r\n\r\n" + self._recording(number)[:999]
            )
        return True

    def no_json(self, number: int) -> bool:
        return httpx.post(f"{self.url}/gradio_api/call/recognise", content=b'{"data": [', timeout=60).is_client_error

    def a_path(self, number: int) -> bool:
        return "event: error" in self._answer("/etc/passwd")

    def leaves(self, number: int) -> bool:
        recording = {"path": self._upload(self._recording(number)), "meta": {"_type": "gradio.FileData"}}
        return (
            "event_id"
            in httpx.post(f"{self.url}/gradio_api/call/recognise", json={"data": [recording]}, timeout=60).json()
        )

    def _recording(self, number: int) -> bytes:
        return self.recordings[number % len(self.recordings)].read_bytes()

    def _upload(self, content) -> str:
        head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
        body = [head, *([content] if isinstance(content, bytes) else content), b"\r\n--b--\r\n"]
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        (path,) = httpx.post(f"{self.url}/gradio_api/upload", content=iter(body), headers=headers, timeout=60).json()
        return path

    def _answer(self, path: str) -> str:
        route = f"{self.url}/gradio_api/call/recognise"
        recording = {"path": path, "meta": {"_type": "gradio.FileData"}}
        event = httpx.post(route, json={"data": [recording]}, timeout=60).json()["event_id"]
        return httpx.get(f"{route}/{event}", timeout=120).text

    def _is_right(self, path: str, number: int) -> bool:
        _, _, data = self._answer(path).partition("event: complete\ndata: ")
        return bool(data) and alike(json.loads(data.splitlines()[0])[-1], self.expected[number % len(self.expected)])


def trickle(content: bytes):
    """A recording in ten pieces, a twentieth of a second apart."""
    for piece in np.array_split(np.frombuffer(content, np.uint8), 10):
        time.sleep(0.05)
        yield piece.tobytes()


def alike(found: dict, expected: dict) -> bool:
    """Whether two results have the same labels and transcript, and scores within 1e-5."""
    return found.keys() == expected.keys() and all(
        {e["label"]: round(e["score"], 5) for e in found[name]}
        == pytest.approx({e["label"]: e["score"] for e in value}, abs=2e-5)
        if isinstance(value, list)
        else found[name] == value
        for name, value in expected.items()
    )


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> list[Path]:
    """Seven recordings of half a second, no two alike."""
    folder, chance = tmp_path_factory.mktemp("visitors"), np.random.default_rng(0)
    paths = [folder / f"{number}.wav" for number in range(7)]
    for number, path in enumerate(paths):
        noise = np.convolve(chance.normal(size=8_000), np.ones(number + 1), mode="same")
        soundfile.write(path, 0.05 * noise, 16_000)
    return paths


@pytest.fixture
def page(finished_run, tmp_path):
    """`ser-meta serve` in a process of its own: the process, its address, and its folder for temporary files."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-u", "-c", SERVE, str(finished_run / "model"), "--port", port]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, next(line.split()[-1] for line in process.stdout if "http://127.0.0.1" in line), tmp_path
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("visits", "at_once", "rounds", "megabytes"),
    [(24, 8, 1, 32), pytest.param(200, 16, 4, 8, marks=pytest.mark.campaign)],
)
def test_a_page_with_many_visitors(page, finished_run, recordings, visits, at_once, rounds, megabytes):
    process, url, temporary = page
    recognise = load_pipeline(finished_run / "model", {}, 8, None)
    visitors = Visitors(url, recordings, [recognise(str(path)) for path in recordings], Path(__file__))
    memory = psutil.Process(process.pid).memory_info
    with ThreadPoolExecutor(at_once) as together:
        started = time.monotonic()
        outcomes = [outcome for _ in range(rounds) for outcome in together.map(visitors.visit, range(visits))]
        seconds = time.monotonic() - started
        before = memory().rss  # what the first visitors made it load stays: the same load again is what may not grow
        outcomes += together.map(visitors.visit, range(visits))
    grown = (memory().rss - before) / 2**20
    print(f"\n{rounds} x {visits} visits, {at_once} at once, {seconds:.1f} s, then {visits} more: {grown:+.1f} MiB")
    print(", ".join(f"{kind} {'right' if right else 'WRONG'} {n}" for (kind, right), n in Counter(outcomes).items()))
    assert all(right for _, right in outcomes), [number for number, (_, right) in enumerate(outcomes) if not right]
    assert grown < megabytes
    assert visitors.good(0)  # it still answers
    if visits > 100:
        ends = time.monotonic() + 3 * KEPT_SECONDS
        while files_below(temporary) and time.monotonic() < ends:
            time.sleep(1)
        print(f"files left after {KEPT_SECONDS} s each: {len(files_below(temporary))}")
        assert not files_below(temporary)
    assert not list(temporary.glob("ser-meta-page-*/tmp*"))


def write(path: Path, content: bytes | np.ndarray) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        soundfile.write(path, content, 16_000, subtype="FLOAT")


@pytest.fixture
def many(tmp_path):
    """Writes a folder of so many recordings of 0.1 to 0.3 s, and so many that are unusable among them."""

    def make(number: int, bad: int) -> tuple[Path, list[str], dict[str, str]]:
        folder, chance, wrong = tmp_path / "recordings", np.random.default_rng(1), {}
        folder.mkdir()
        for place in range(number):
            path = folder / f"{place:05}.wav"
            if place % (number // bad) == 3:
                wrong[str(path)] = list(UNUSABLE)[len(wrong) % len(UNUSABLE)]
                write(path, UNUSABLE[wrong[str(path)]])
            else:
                write(path, 0.1 * chance.normal(size=chance.integers(1_600, 4_800)))
        return folder, [str(path) for path in sorted(folder.iterdir()) if str(path) not in wrong], wrong

    return make


@pytest.mark.parametrize(("number", "bad"), [(100, 5), pytest.param(2000, 100, marks=pytest.mark.campaign)])
def test_a_prediction_over_many_files(many, finished_run, command_line, tmp_path, number, bad):
    folder, usable, wrong = many(number, bad)
    assert len(wrong) == bad
    started = time.monotonic()
    code, _, errors = command_line("predict", finished_run / "model", folder, "--csv", tmp_path / "table.csv")
    seconds = time.monotonic() - started
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    reasons = {path: [line for line in errors if line.startswith("ser-meta: ") and path in line] for path in wrong}
    print(f"\n{number} files in {seconds:.1f} s, exit code {code}: {len(rows)} rows, {bad} listed with a reason")
    assert code == 1 and list(rows) == usable
    assert all(len(lines) == 1 for lines in reasons.values()), reasons
    assert not any(path in line for path in usable for line in errors if line.startswith("ser-meta: "))
    recognise = load_pipeline(finished_run / "model", {}, 1, None)
    for path in usable[:: len(usable) // 10]:
        best = recognise(path)["emotion"][0]
        assert (rows[path]["emotion"], float(rows[path]["emotion_score"])) == (
            best["label"],
            pytest.approx(best["score"], abs=6e-5),  # written with four digits,
        )
