"""The page: as served here, asked over its API by several visitors, and as a Space without this package."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from shutil import which

import gradio as gr
import httpx
import numpy as np
import pytest
import soundfile
import yaml
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from sound_formats import write_format

from ser_meta.configuration.errors import UserError
from ser_meta.hub_cards.hub.space import write_space
from ser_meta.hub_cards.page.predictions_table import SHARES, print_predictions
from ser_meta.hub_cards.page.space_app import DEFAULT_LIMITS, Limits, build_page, check_recording, shown_values


def ask(url, path):
    """The page's answer: emotion, gender, transcript, valence, timeline, JSON."""
    return Client(url, verbose=False, analytics_enabled=False).predict(handle_file(path), api_name="/recognise")


def bars(label):
    return {entry["label"]: entry["confidence"] for entry in label["confidences"]}


def test_the_answer_is_the_pipelines(url, recognise, write_noise):
    path = write_noise(3)
    emotion, gender, transcript, valence, timeline, everything = ask(url, path)
    expected = recognise(str(path))
    assert bars(emotion) == pytest.approx({e["label"]: e["score"] for e in expected["emotion"]}, abs=1e-5)
    assert bars(gender) == pytest.approx({e["label"]: e["score"] for e in expected["gender"]}, abs=1e-5)
    assert (transcript, valence) == (expected["transcript"], pytest.approx(expected["valence"], abs=0.0051))
    assert timeline["visible"] is False and "segments" not in everything
    assert list(everything) == ["emotion", "gender", "transcript", "valence"]  # no speaker


def test_of_several_labels_at_once_those_that_are_there_are_marked():
    found = [{"label": "sad", "score": 0.7, "present": True}, {"label": "angry", "score": 0.4, "present": False}]
    assert shown_values({"emotion": found}, ["emotion"]) == [{"sad ✓": 0.7, "angry": 0.4}]


def test_the_terminal_says_what_shares_are(capsys):
    result = {"file": "a.wav", "emotion": [{"label": "sad", "score": 0.7}, {"label": "angry", "score": 0.3}]}
    print_predictions([result], are_shares=True)
    assert SHARES in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["m4a-aac", "webm-opus"])
def test_what_phones_and_browsers_record_is_heard(url, recognise, write_noise, name, tmp_path):
    pytest.importorskip("av")
    path = write_format(name, tmp_path, soundfile.read(write_noise(3))[0])
    expected = {entry["label"]: entry["score"] for entry in recognise(str(path))["emotion"]}
    assert bars(ask(url, path)[0]) == pytest.approx(expected, abs=1e-5)


def test_a_long_recording_gets_a_timeline(url, write_noise):
    *_, timeline, everything = ask(url, write_noise(5, seconds=20))
    assert everything["segments"][0]["start"] == 0 and everything["segments"][-1]["end"] == 20
    with Image.open(timeline["value"]) as picture:
        assert picture.width > picture.height > 200


def test_eight_visitors_at_once_get_their_own_answers(url, recognise, write_noise):
    paths = [write_noise(seed) for seed in range(8)]
    expected = [recognise(str(path))["emotion"][0]["score"] for path in paths]
    assert len({round(score, 4) for score in expected}) == 8
    with ThreadPoolExecutor(8) as visitors:
        answers = list(visitors.map(lambda path: ask(url, path), paths))
    assert [answer[0]["confidences"][0]["confidence"] for answer in answers] == pytest.approx(expected, abs=1e-5)


def test_what_is_silent_is_shown_as_no_emotion(url, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.full(320_000, 0.01), 16_000)
    emotion, gender, transcript, valence, _, everything = ask(url, tmp_path / "silent.wav")
    assert emotion["label"] == "silent" and not emotion["confidences"]
    assert not (gender or {}).get("label") and not transcript and not valence
    assert everything["abstained"] is True and everything["silent"] is True and everything["segments"] == []


def test_a_program_reads_what_each_result_is(url):
    client = Client(url, verbose=False, analytics_enabled=False)
    returned = client.view_api(print_info=False, return_format="dict")["named_endpoints"]["/recognise"]["returns"]
    assert [each["label"] for each in returned] == [
        *("emotion, as perceived", "gender", "transcript", "valence, from 1 to 5", "timeline", "result")
    ]


def test_the_limits_are_the_servers_own(recognise, write_noise, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))  # which a page sets for itself: the running one's comes back
    assert check_recording(str(write_noise(1, seconds=3)), Limits()) is None
    for limits, message in ((Limits(minutes=0.02), "the 0.02 taken here"), (Limits(megabytes=0.01), "the 0.01 MB")):
        with pytest.raises(gr.Error, match=message):
            check_recording(str(write_noise(1, seconds=3)), limits)
    page = build_page(recognise, "tiny", limits=Limits(minutes=90, megabytes=700))
    told = " ".join(str(component["props"].get("value")) for component in page.config["components"])
    assert "may last 90 minutes and take 700 MB" in told
    page.kept.cleanup()


@pytest.fixture(scope="module")
def unusable(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unusable")
    (folder / "notes.wav").write_text("Dear diary, today I was happy. " * 50)
    (folder / "nothing.wav").touch()
    with soundfile.SoundFile(folder / "concert.flac", "w", 8_000, 1) as file:
        for _ in range(120):
            file.write(np.zeros(60 * 8_000, dtype=np.int16))
    soundfile.write(folder / "click.wav", np.zeros(20), 16_000)
    with (folder / "huge.wav").open("wb") as file:
        file.truncate(DEFAULT_LIMITS.bytes + 1)
    return folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "notes.wav",
            r"^notes\.wav cannot be read as audio \(.+\): it is damaged, or not what its name says; give WAV, FLAC",
        ),
        ("nothing.wav", r"^nothing\.wav is empty \(0 bytes\): upload it again, or record it again\.$"),
        ("concert.flac", r"^concert\.flac lasts 120 minutes, more than the 10 taken here: cut it\.$"),
        ("click.wav", r"^click\.wav: a piece of 20 samples is shorter than the "),
    ],
)
def test_what_cannot_be_used_gets_a_message(url, unusable, name, message):
    with pytest.raises(AppError, match=message):
        ask(url, unusable / name)


def test_an_upload_beyond_the_limit_is_cut_off(url, unusable):
    with (unusable / "huge.wav").open("rb") as file:
        assert httpx.post(f"{url}gradio_api/upload", files={"files": file}, timeout=60).status_code == 413


def test_no_recording_gets_a_message(url):
    with pytest.raises(AppError, match="There is no recording yet"):
        Client(url, verbose=False).predict(None, api_name="/recognise")


@pytest.mark.parametrize("path", [__file__, "/etc/hostname", "http://127.0.0.1:9/a.wav", "https://example.org/a.wav"])
def test_only_uploads_are_taken(url, path):
    recording = {"path": path, "meta": {"_type": "gradio.FileData"}}
    event = httpx.post(f"{url}gradio_api/call/recognise", json={"data": [recording]}).json()["event_id"]
    answer = httpx.get(f"{url}gradio_api/call/recognise/{event}", timeout=60).text
    assert "event: error" in answer and "event: complete" not in answer
    assert httpx.get(f"{url}gradio_api/file={path}").status_code in (403, 404)


def test_a_space_runs_without_this_package(recognise, write_noise, tmp_path):
    recognise.save_pretrained(tmp_path / "model")
    recognise.processor.save_pretrained(tmp_path / "model")
    folder = write_space(tmp_path / "model", tmp_path / "space")
    path = write_noise(4, seconds=16)
    program = (
        "import sys, json; sys.modules['ser_meta'] = None\n"
        "import app\n"
        "answer = app.page.fns[0].fn(sys.argv[1])\n"
        "print(json.dumps([answer[0], answer[-2]['value'].shape]))"
    )
    done = subprocess.run([sys.executable, "-c", program, path], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    scores, shape = json.loads(done.stdout.splitlines()[-1])
    expected = {entry["label"]: entry["score"] for entry in recognise(str(path))["emotion"]}
    assert scores == pytest.approx(expected, abs=1e-5) and shape[2] == 3
    with pytest.raises(UserError, match="space exists and is not empty"):
        write_space(tmp_path / "model", tmp_path / "space")


def test_a_space_of_a_repository(tmp_path):
    folder = write_space("someone/my-emotions", tmp_path / "space", revision="v1")
    app = (folder / "app.py").read_text()
    assert "MODEL = 'someone/my-emotions'" in app and "revision='v1'" in app
    _, metadata, text = (folder / "README.md").read_text().split("---\n", 2)
    facts = yaml.safe_load(metadata)
    assert (facts["sdk"], facts["app_file"], facts["models"]) == ("gradio", "app.py", ["someone/my-emotions"])
    assert "# my-emotions" in text and "not felt emotion" in text
    assert not (folder / "model").exists()


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium: Playwright's own, or the system's."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no browser: pip install playwright")
    with playwright.sync_playwright() as running:
        installed = which("chromium") or which("chromium-browser") or which("google-chrome")
        try:
            started = running.chromium.launch(executable_path=installed, args=["--no-sandbox"])
        except playwright.Error:
            pytest.skip("no browser: playwright install chromium")
        yield started
        started.close()


def test_upload_and_result_in_a_browser(url, browser, write_noise):
    page, requested, refused = browser.new_page(), [], []
    page.on("request", lambda request: requested.append(request.url))
    page.on("response", lambda response: response.status >= 400 and refused.append(response.url))
    page.goto(url)
    page.locator("input[type=file]").set_input_files(write_noise(5, seconds=20))
    page.get_by_role("button", name="Recognise").click()
    page.get_by_alt_text("timeline").or_(page.locator("img[src*='.webp'], img[src*='.png']")).first.wait_for()
    text = page.inner_text("body")
    assert "emotion, as perceived" in text and "neutral" in text and "Perceived emotion is not felt emotion" in text
    outside = [address for address in requested if not address.startswith((url, "blob:", "data:"))]
    assert not outside and not refused
    page.close()


def test_turns_appear_while_a_visitor_speaks(url, recognise, tmp_path):
    """As the browser sends them: each chunk is an upload of its own, a whole WAV file."""
    noise = np.random.default_rng(0).normal(size=80_000)
    samples = (noise * ([1e-3] * 16_000 + [0.1] * 48_000 + [1e-3] * 16_000)).astype(np.float32)
    visitor, api = httpx.Client(timeout=60), f"{url}gradio_api/"
    numbers = {each["api_name"]: each["id"] for each in visitor.get(f"{url}config").json()["dependencies"]}
    chunks = iter(np.array_split(samples, 5))

    def body(name: str) -> dict:
        if name == "finish":
            return {"data": [None], "fn_index": numbers[name], "session_hash": "speaker"}
        soundfile.write(tmp_path / "chunk.wav", next(chunks), 16_000, subtype="FLOAT")
        (path,) = visitor.post(f"{api}upload", files={"files": (tmp_path / "chunk.wav").read_bytes()}).json()
        file = {"path": path, "orig_name": "audio.wav", "meta": {"_type": "gradio.FileData"}}
        return {"data": [file, None], "fn_index": numbers[name], "session_hash": "speaker"}

    def ask(name: str, further: int = 0):
        event = visitor.post(f"{api}queue/join", json=body(name)).json()["event_id"]
        with visitor.stream("GET", f"{api}queue/data", params={"session_hash": "speaker"}) as told:
            for line in filter(lambda line: line.startswith("data: "), told.iter_lines()):
                message = json.loads(line.removeprefix("data: "))
                assert message.get("success", True), message
                if message["msg"] in ("process_streaming", "process_completed"):
                    yield message["output"]["data"][0]["data"]
                if message["msg"] == "process_completed":
                    return
                if message["msg"] == "process_streaming":
                    place = f"{api}stream/{event}" + ("" if further else "/close")
                    assert visitor.post(place, json=body(name) if further else None).status_code == 200
                    further -= 1

    heard = list(ask("listen", further=4))
    ((*_, last),) = [list(ask("finish"))]
    (turn,) = recognise.stream(16_000).turns([samples])
    best = turn["emotion"][0]
    assert "..." in heard[3][0][1]
    assert last == heard[-1] and last[0][2:] == [best["label"], f"{best['score']:.2f}"]
