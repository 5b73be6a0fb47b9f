"""The commands with every connection beyond this machine refused, and none tried."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

GUARD = Path(__file__).parent / "support" / "no_network"
SWITCHES = ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "GRADIO_ANALYTICS_ENABLED", "PYTHONPATH")
COMMANDS = """
import json, sys
from ser_meta.training.__main__ import main

for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as left:
        assert not left.code, (arguments, left.code)
"""


@pytest.fixture
def without_network(tmp_path):
    """The environment of a program that nobody has told to be silent, and the file of what it tried."""
    tried = tmp_path / "tried.txt"
    environment = {name: value for name, value in os.environ.items() if name not in SWITCHES}
    home = {"HF_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    return environment | home | {"PYTHONPATH": str(GUARD), "REFUSED_CONNECTIONS": str(tried)}, tried


def test_the_guard_refuses(without_network):
    environment, tried = without_network
    program = "import urllib.request; urllib.request.urlopen('http://192.0.2.1/')"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert "no network in this test" in done.stderr and "192.0.2.1" in tried.read_text()


def test_no_command_asks_anybody(without_network, recipe_file, speech_table, tmp_path):
    environment, tried = without_network
    run = tmp_path / "run"
    recording = speech_table.parent / "emil-angry-scripted.wav"
    commands = [
        ["doctor"],
        ["check", "table", speech_table, "--workers", "1"],
        ["train", recipe_file, "stages.metadata.epochs=1", "stages.emotion.epochs=1", "--output", run],
        ["card", run],
        ["evaluate", run / "model", "table", speech_table],
        ["predict", run / "model", recording, "--json"],
    ]
    listed = json.dumps([[str(argument) for argument in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, listed], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not tried.exists(), tried.read_text()


def test_the_page_asks_nobody_and_leaves_nothing_when_it_is_ended(without_network, finished_run, tmp_path):
    environment, tried = without_network
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-u", "-m", "ser_meta.training", "serve", finished_run / "model", "--port", port]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as page:
        try:
            url = next(line.split()[-1] for line in page.stdout if "http://127.0.0.1" in line)
            html = httpx.get(url).text
            files = {"files": ("a.wav", b"RIFF")}
            (kept,) = httpx.post(f"{url}/gradio_api/upload", files=files).json()
            assert Path(kept).is_file() and Path(kept).is_relative_to(tmp_path)
        finally:
            page.send_signal(signal.SIGTERM)
            page.wait(timeout=60)
    assert not Path(kept).exists() and not list(tmp_path.glob("ser-meta-page-*"))
    assert not tried.exists(), tried.read_text()
    assert page.returncode == 128 + signal.SIGTERM
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", html)  # nor does a visitor's browser
