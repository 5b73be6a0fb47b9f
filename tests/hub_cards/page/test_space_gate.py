"""What the page must not let in or out, tried with bare requests."""

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from ser_meta.hub_cards.page import space_gate
from ser_meta.hub_cards.page.space_app import DEFAULT_LIMITS, build_page, launch_page

HEAD = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
TAIL = b"\r\n--b--\r\n"


@pytest.fixture(scope="module")
def page(recognise):
    """A running page of its own: its address, and the folder in which it keeps recordings."""
    built = build_page(recognise, "tiny")
    _, url, _ = launch_page(built, server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    yield url, Path(built.kept.name)
    built.close()


def upload(url, path):
    with path.open("rb") as file:
        answer = httpx.post(f"{url}gradio_api/upload", files={"files": (path.name, file)}, timeout=60)
    return answer.json()[0]


def kept_files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def eventually(holds):
    """Whether it holds within ten seconds: the server answers and tidies up in its own time."""
    ends = time.monotonic() + 10
    while not (held := holds()) and time.monotonic() < ends:
        time.sleep(0.02)
    return held


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/proc/self/environ",
        "~/.bashrc",
        __file__,
        "file:///etc/passwd",
        "http://127.0.0.1:9/",
    ],
)
def test_no_file_but_its_own_is_served(page, path):
    url, _ = page
    for route in ("gradio_api/file=", "gradio_api/file/", "file=", "static/", "assets/", "svelte/"):
        answer = httpx.get(url + route + path)
        assert answer.status_code in (400, 403, 404) or answer.headers["content-type"].startswith("text/html")
        assert "root:" not in answer.text and "PATH=" not in answer.text and "def test" not in answer.text


def test_recordings_of_visitors_cannot_be_found(page, write_noise):
    url, folder = page
    path = upload(url, write_noise(1))
    own = httpx.get(f"{url}gradio_api/file={path}")  # who uploaded it knows the name
    assert own.content == write_noise(1).read_bytes()
    assert re.fullmatch(rf"{folder}/[0-9a-f]{{64}}/noise-1\.wav", path)  # nobody else can guess it
    assert folder.stat().st_mode & 0o077 == 0
    for place in (folder, Path(path).parent, f"{folder}/", f"{folder}/*", f"{Path(path).parent}/*.wav"):
        answer = httpx.get(f"{url}gradio_api/file={place}")
        assert answer.status_code in (403, 404), place
    for route in ("", "config", "gradio_api/info", "gradio_api/app_id"):
        assert Path(path).parent.name not in httpx.get(url + route).text


@pytest.mark.parametrize(
    "route",
    [
        "gradio_api/run/recognise",
        "gradio_api/api/recognise",
        "gradio_api/process_recording",
        "gradio_api/component_server",
        "gradio_api/vibe-edit",
        "gradio_api/deep_link?session_hash=a",
        "gradio_api/proxy=https://someone.hf.space/",
        "gradio_api/queue/status",
        "gradio_api/stream/a/b/1/playlist.m3u8",
        "gradio_api/runs",
        "gradio_api/openapi.json",
        "monitoring",
        "monitoring/summary",
        "login",
    ],
)
def test_what_the_page_does_not_need_is_closed(page, route):
    url, folder = page
    before = kept_files(folder)
    for method in ("GET", "POST"):
        assert httpx.request(method, url + route, json={"data": [None]}).status_code == 404
    assert kept_files(folder) == before


def test_at_most_one_recording_is_heard_at_a_time(recognise, write_noise):
    together, most = 0, 0

    class Counting:
        model = recognise.model

        def __call__(self, path):
            nonlocal together, most
            together += 1
            most = max(most, together)
            try:
                return recognise(path)
            finally:
                together -= 1

    built = build_page(Counting(), "counted")
    _, url, _ = launch_page(built, server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)

    def visit(seed):
        recording = {"path": upload(url, write_noise(seed)), "meta": {"_type": "gradio.FileData"}}
        direct = httpx.post(f"{url}gradio_api/run/recognise", json={"data": [recording]}, timeout=60).status_code
        event = httpx.post(f"{url}gradio_api/call/recognise", json={"data": [recording]}, timeout=60).json()
        text = httpx.get(f"{url}gradio_api/call/recognise/{event['event_id']}", timeout=60).text
        return direct, "event: complete" in text

    with ThreadPoolExecutor(6) as visitors:
        answers = list(visitors.map(visit, range(6)))
    built.close()
    assert answers == [(404, True)] * 6 and most == 1


def connect(url):
    return socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=20)


def begin(url, length):
    """An upload that has sent the beginning of a file and says that `length` bytes are to come."""
    visitor = connect(url)
    visitor.sendall(
        b"POST /gradio_api/upload HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: %d\r\n\r\n" % length + HEAD + b"RIFF" * 50_000
    )
    return visitor


def test_an_upload_that_is_cut_off_leaves_nothing(page):
    url, folder = page
    before = kept_files(folder)
    visitor = begin(url, 10**6)
    assert eventually(lambda: kept_files(folder) != before)  # it has begun
    visitor.close()
    assert eventually(lambda: kept_files(folder) == before)


def test_an_upload_without_its_end_leaves_nothing(page):
    url, folder = page
    before = kept_files(folder)
    with begin(url, len(HEAD) + 200_000) as visitor:
        visitor.recv(1000)
    assert eventually(lambda: kept_files(folder) == before)


def test_an_upload_that_never_ends_is_ended(page, monkeypatch):
    url, folder = page
    before = kept_files(folder)
    monkeypatch.setattr(space_gate, "UPLOAD_SECONDS", 1)
    with begin(url, 10**6) as visitor:
        answer = visitor.recv(1000)
    assert answer.startswith(b"HTTP/1.1 400")
    assert eventually(lambda: kept_files(folder) == before)


def test_many_files_in_one_upload_count_together(page, tmp_path):
    url, folder = page
    before = kept_files(folder)
    path = tmp_path / "large.wav"
    with path.open("wb") as file:
        file.truncate(DEFAULT_LIMITS.bytes // 2 + 1_000_000)
    with path.open("rb") as first, path.open("rb") as second:
        files = [("files", ("a.wav", first)), ("files", ("b.wav", second))]
        assert httpx.post(f"{url}gradio_api/upload", files=files, timeout=60).status_code == 413
    assert eventually(lambda: kept_files(folder) == before)


def test_uploads_at_once_are_counted(page, monkeypatch, write_noise):
    url, _ = page
    monkeypatch.setattr(space_gate, "UPLOADS", 2)
    slow = [begin(url, 10**6), begin(url, 10**6)]
    path = write_noise(2)
    assert eventually(lambda: status_of_an_upload(url, path) == 503)
    for visitor in slow:
        visitor.close()
    assert eventually(lambda: status_of_an_upload(url, path) == 200)


def status_of_an_upload(url, path):
    with path.open("rb") as file:
        return httpx.post(f"{url}gradio_api/upload", files={"files": (path.name, file)}, timeout=60).status_code


def test_recordings_go_with_the_page(recognise, write_noise):
    built = build_page(recognise, "gone")
    _, url, _ = launch_page(built, server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    path, folder = Path(upload(url, write_noise(3))), Path(built.kept.name)
    assert path.is_file()
    built.close()
    built.kept.cleanup()
    assert not folder.exists()
