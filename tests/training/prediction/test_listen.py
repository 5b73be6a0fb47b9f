"""`ser-meta listen`: turns while the sound comes in, from standard input and over a WebSocket."""

import io
import json
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from itertools import cycle
from threading import Event, Thread

import numpy as np
import pytest
import soundfile

from ser_meta.configuration.errors import UserError
from ser_meta.training.prediction.live import Listening, Pace, hear
from ser_meta.training.prediction.live_sound import Decoder, SoundFormat
from ser_meta.training.prediction.recognition import load_pipeline

RATE = 16_000


def talk(rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Two turns of 1.5 and 2 s."""
    chance = np.random.default_rng(seed)

    def spoken(seconds: float) -> np.ndarray:
        samples = round(seconds * rate)
        tone = 0.2 * np.sin(np.arange(samples) * 2 * np.pi * 300 / rate) + 0.02 * chance.standard_normal(samples)
        return tone * np.where((np.arange(samples) // (rate // 10)) % 3 < 2, 1, 0.03)

    pauses = [chance.normal(scale=1e-3, size=round(seconds * rate)) for seconds in (0.5, 0.9, 0.7)]
    return np.concatenate([pauses[0], spoken(1.5), pauses[1], spoken(2), pauses[2]]).astype(np.float32)


@pytest.fixture(scope="module")
def model(finished_run):
    return finished_run / "model"


@pytest.fixture(scope="module")
def recognise(model):
    return load_pipeline(model, {}, 1, None)


@pytest.fixture(scope="module")
def expected(recognise) -> list[dict]:
    pcm = (talk() * 32767).astype("<i2")
    turns = list(recognise.stream(RATE).turns([pcm.astype(np.float32) / 32768]))
    assert len(turns) == 2
    return turns


def assert_told(lines: list[dict], turns: list[dict]) -> None:
    assert [(line["start"], line["end"]) for line in lines] == [(turn["start"], turn["end"]) for turn in turns]
    for line, turn in zip(lines, turns, strict=True):
        assert line["emotion"][0]["label"] == turn["emotion"][0]["label"]
        assert line["confidence"] == pytest.approx(turn["confidence"], abs=1e-4)
        assert line["delay"] >= 0


def pcm(samples: np.ndarray) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def listen(model, *options: str, **kwargs) -> subprocess.Popen:
    command = [sys.executable, "-m", "ser_meta.training", "listen", str(model), *options]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False, **kwargs
    )


def test_raw_samples_on_standard_input(model, expected):
    program = listen(model, "--raw-rate", str(RATE), "--provisional", "1")
    printed, errors = program.communicate(pcm(talk()), timeout=120)
    lines = [json.loads(line) for line in printed.splitlines()]
    assert program.returncode == 0, errors
    assert_told([line for line in lines if line["final"]], expected)
    assert [line["turn"] for line in lines if not line["final"]] == [0, 1, 1]


def test_another_backend_and_what_is_familiar(model, expected, network_cache):
    pytest.importorskip("onnxruntime")
    load_pipeline(model, {}, 1, None, backend="onnx")  # writes the network, which takes longer than to listen
    program = listen(model, "--raw-rate", str(RATE), "--backend", "onnx", "--least-familiar", "0")
    printed, errors = program.communicate(pcm(talk()), timeout=120)
    lines = [json.loads(line) for line in printed.splitlines()]
    assert program.returncode == 0, errors
    assert_told(lines, expected)
    assert all(0 <= line["familiar"] <= 1 for line in lines)


def test_ctrl_c_tells_the_turn_that_goes_on(model):
    program = listen(model, "--raw-rate", str(RATE))
    spoken = talk()[: round(3.9 * RATE)]
    program.stdin.write(pcm(spoken))
    program.stdin.flush()
    first = json.loads(program.stdout.readline())  # the first turn has ended, the second goes on
    program.send_signal(signal.SIGINT)
    rest, errors = program.stdout.read(), program.stderr.read()
    assert program.wait(timeout=60) == 0 and b"Traceback" not in errors, errors
    (second,) = map(json.loads, rest.splitlines())
    assert (first["turn"], second["turn"]) == (0, 1) and second["end"] <= 3.9


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT", "ULAW", "PCM_24"])
@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF])
def test_wav_files_as_they_come(subtype, size):
    samples = np.stack([talk(), talk(seed=1)], axis=1)
    written = io.BytesIO()
    soundfile.write(written, samples, RATE, subtype=subtype, format="WAV")
    file = bytearray(written.getvalue())
    if size is not None:
        place = file.index(b"data")
        struct.pack_into("<I", file, place + 4, size)
    else:
        file += b"LIST" + struct.pack("<I", 4) + b"INFO"  # is no sound
    decoder = Decoder()
    blocks = [decoder.feed(bytes(file[start : start + 1000])) for start in range(0, len(file), 1000)]
    found = np.concatenate([block for block in blocks if block is not None])
    assert decoder.format[:2] == (RATE, 2)
    written.seek(0)
    np.testing.assert_array_equal(found, soundfile.read(written, dtype="float32")[0])


def test_each_channel_has_its_own_turns(recognise, expected):
    other = np.concatenate([np.zeros(8_000, np.float32), talk()[:-8_000]])
    sound = SoundFormat(RATE, 2)
    listening = Listening(recognise)
    blocks = iter([pcm(np.stack([talk(), other], axis=1))])
    lines = list(hear(listening, listening.arrivals(lambda: next(blocks, b""), sound), Decoder(sound)))
    assert_told([line for line in lines if line["channel"] == 0], expected)
    late = [turn["start"] + 0.5 for turn in expected]
    assert [line["start"] for line in lines if line["channel"] == 1] == pytest.approx(late)


def test_a_full_buffer_makes_the_sender_wait_and_says_so(recognise):
    listening, sound, sent, go_on = Listening(recognise, buffer=1.0), SoundFormat(RATE), [], Event()

    def read() -> bytes:
        sent.append(len(sent))
        return pcm(talk()[:4_000]) if len(sent) <= 40 else b""

    arrivals = listening.arrivals(read, sound)
    while not arrivals.was_full:
        go_on.wait(0.01)
    assert len(sent) == 5 and arrivals.bytes == 32_000  # a second waits, and a quarter more is at the door
    decoder, lines, pace = Decoder(sound), [], Pace(arrivals)
    pace.began -= 100  # the sound comes more slowly than it is made
    for arrival in arrivals:
        behind = pace.behind(len(decoder.feed(arrival.received)), sound)
        lines += [behind] if behind else []
    assert len(sent) == 41 and lines[0] == pytest.approx(1, abs=0.3)
    assert pace.seconds == 10  # and nothing is dropped


@pytest.mark.parametrize(
    ("given", "options", "parts"),
    [
        (b"no sound at all", [], ["is no WAV file", "--raw-rate"]),
        (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x31\0\x01\0\x40\x1f\0\0\0\0\0\0\0\0\0\0", [], ["of the format 49"]),
        (b"RIFF", [], ["ended before its first sample"]),
        (b"", ["--raw-rate", "16000", "--encoding", "mp3"], ["encoding mp3 is none of pcm_u8"]),
        (b"", ["--raw-rate", "10"], ["sampling rate of 10 Hz"]),
        (b"", ["--buffer", "0"], ["--buffer 0 must be above 0"]),
        (b"", ["--channels", "front"], ["--channels 'front' is none of"]),
        (b"", ["--port", "0", "--raw-rate", "16000"], ["--raw-rate 16000 is of standard input"]),
        (pcm(talk()), ["--raw-rate", "16000", "--channel", "1"], ["--channels 1: the sound has 1"]),
    ],
)
def test_what_is_refused(model, given, options, parts, monkeypatch, command_line, tmp_path):
    (tmp_path / "given").write_bytes(given)
    with (tmp_path / "given").open("rb") as file:
        monkeypatch.setattr("sys.stdin", file)
        code, printed, errors = command_line("listen", model, *options)
    assert (code, printed, len(errors)) == (2, "", 1)
    assert all(part in errors[0] for part in parts), errors


@pytest.fixture
def socket(recognise):
    """A WebSocket with two places on a free port, and what connects to it."""
    pytest.importorskip("websockets")
    from websockets.sync.client import connect

    from ser_meta.training.prediction.live_socket import Socket

    server = Socket(Listening(recognise), "127.0.0.1", 0, ["https://example.org"], most=2)
    Thread(target=server.server.serve_forever, daemon=True).start()
    yield lambda **options: connect(server.address, **options), server
    server.close()


def test_a_websocket(socket, expected):
    connect, _ = socket
    with connect() as client:
        client.send(json.dumps({"sampling_rate": RATE}))
        for start in range(0, len(talk()), 3_200):
            client.send(pcm(talk()[start : start + 3_200]))
        client.send(json.dumps({"end": True}))
        assert_told([json.loads(line) for line in client], expected)
        assert client.protocol.close_code == 1000


def test_a_websocket_that_is_closed_tells_the_last_turn(socket, expected):
    connect, server = socket
    with connect() as client:
        client.send(json.dumps({"sampling_rate": RATE}))
        client.send(pcm(talk()[: round(3.9 * RATE)]))
        first = json.loads(client.recv())
        closing = Thread(target=server.close)
        closing.start()
        second = json.loads(client.recv())
        assert (first["turn"], second["turn"]) == (0, 1)
        closing.join()


def test_what_a_websocket_refuses(socket):
    connect, _ = socket
    from websockets.exceptions import InvalidStatus

    for first, part in (
        ("hello", "the first message is JSON"),
        ('{"rate": 8000}', "rate is none of the settings sampling_rate"),
        ('{"sampling_rate": 8000, "encoding": "mp3"}', "encoding mp3 is none of"),
        ('{"sampling_rate": 10}', "has a sampling rate of 10 Hz"),
        ('{"sampling_rate": 1e999}', "the first message is JSON"),
        ("[" * 200_000, "the first message is JSON"),
        ('{"sampling_rate": 8000, "encoding": "x%s"}' % ("ö" * 80), "encoding xöö"),
        (r'{"\ud800": 8000}', "\ud800 is none of the settings"),
        (b"no sound", "is no WAV file"),
    ):
        with connect() as client:
            client.send(first)
            error, closing = json.loads(client.recv())["error"], closing_of(client)
            assert part in error and closing.code == 1008
            assert error.replace("\ud800", "?").startswith(closing.reason)
            assert len(closing.reason.encode()) >= min(len(error.encode(errors="replace")), 122)
    with pytest.raises(InvalidStatus, match="403"):
        connect(origin="https://elsewhere.org")
    with connect(origin="https://example.org") as one, connect() as another, connect() as third:
        told = _first_message(one, another, third)  # whichever of them the server came to last
        assert "2 streams are heard already" in json.loads(told)["error"]


def test_who_sends_nothing_holds_no_place(socket, monkeypatch):
    monkeypatch.setattr("ser_meta.training.prediction.live_socket.FIRST_MESSAGE", 0)
    connect, _ = socket
    with connect() as one, connect() as another:
        for silent in (one, another):
            assert "no message came in 0 s" in json.loads(silent.recv())["error"]
            assert closing_of(silent).code == 1008


def test_a_server_that_ends_waits_for_nobody_who_has_not_begun(socket, monkeypatch):
    monkeypatch.setattr("ser_meta.training.prediction.live_socket.FIRST_MESSAGE", 1_000)
    connect, server = socket
    with connect() as one, connect() as another, connect() as third:
        clients = [one, another, third]
        refused = _first_message(*clients)  # so that the other two have their places
        server.close()
        reasons = [closing_of(client).reason for client in clients]
    assert sorted(reasons) == sorted([json.loads(refused)["error"], "the server ends", "the server ends"])


def test_who_has_left_before_being_refused_is_no_fault(socket, caplog):
    connect, server = socket
    server.most = 0
    with server.lock, connect():  # nobody is refused before the client has left
        pass
    server.close()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def closing_of(client):
    """Code and reason with which the server closes."""
    from websockets.exceptions import ConnectionClosed

    with pytest.raises(ConnectionClosed) as closed:
        client.recv()
    return closed.value.rcvd


def _first_message(*clients):
    for client in cycle(clients):
        with suppress(TimeoutError):
            return client.recv(timeout=0.1)


@pytest.mark.parametrize(("command", "port"), [("listen", 65536), ("listen", -1), ("serve", 65536), ("serve", 0)])
def test_a_port_that_there_is_not(command_line, command, port):
    code, printed, errors = command_line(command, "nowhere", "--port", port)
    assert (code, printed) == (2, "") and "--port" in errors[-1]


def test_an_address_that_is_taken(recognise, socket):
    from ser_meta.training.prediction.live_socket import Socket

    _, server = socket
    with pytest.raises(UserError, match="cannot be listened on"):
        Socket(Listening(recognise), "127.0.0.1", int(server.address.rpartition(":")[2]))
