"""`ser-meta listen --port`: a WebSocket on which programs send sound and get turns back."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from threading import Event, Lock, Thread
from typing import Any

from ...configuration.errors import UserError
from ...modeling_ser_meta.audio_ser_meta import AudioError
from ..machine.processes import say
from .live import Listening, ended_by_signals, hear
from .live_sound import Arrivals, Decoder, SoundFormat

LARGEST_MESSAGE = 2**20  # bytes
FIRST_MESSAGE = 10  # seconds that who has connected has for the first message
LAST_TURNS = 30  # seconds that all who are connected have for their last turns
LONGEST_REASON = 123  # bytes, by RFC 6455
SETTINGS = ("sampling_rate", "channels", "encoding")
BUSY, REFUSED, GOING_AWAY, DONE = 1013, 1008, 1001, 1000  # why a connection is closed, by RFC 6455


def require_websockets() -> None:
    """Raises `UserError` where the library is missing."""
    if find_spec("websockets") is None:
        raise UserError('--port needs the library websockets: pip install "ser-meta[listen]"')


class Socket:
    """The server of a WebSocket.

    A client's first message is JSON text that says how its samples are written, such as `{"sampling_rate": 8000}`,
    with `channels` and `encoding` where they are not 1 and `pcm_16`; or at once the bytes of a WAV file. Then it sends
    samples as binary messages, and `{"end": true}` at the end. It gets each line as a text message; what was refused,
    as `{"error": "..."}`. Who sends nothing in the first `FIRST_MESSAGE` seconds is refused too.

    Args:
        listening: how its sound is heard.
        host: where to listen.
        port: where to listen; 0 for any that is free.
        origins: web pages that may connect, such as `https://example.org`; programs always may.
        most: connections at the same time.
    """

    def __init__(self, listening: Listening, host: str, port: int, origins: Sequence[str] = (), most: int = 4):
        from websockets.sync.server import serve

        self.listening, self.most, self.stopped = listening, most, Event()
        self.lock, self.hearing, self.visits = Lock(), Lock(), set()
        options = {"origins": [None, *origins], "max_size": LARGEST_MESSAGE, "compression": None}
        try:
            self.server = serve(self._visit, host, port, **options)
        except OSError as error:
            raise UserError(f"--host {host} --port {port} cannot be listened on: {error.strerror or error}") from error
        self.address = "ws://{}:{}".format(*self.server.socket.getsockname()[:2])

    def run(self) -> None:
        """Serves until Ctrl-C; everybody's last turn is told."""
        Thread(target=self.server.serve_forever, daemon=True).start()
        say(f"listening on {self.address}: Ctrl-C ends it")
        with ended_by_signals(self.stopped.set):
            while not self.stopped.wait(0.2):
                pass
        self.close()

    def close(self) -> None:
        """Ends every connection, after its last turn where one has begun, and the server."""
        self.stopped.set()
        deadline = time.monotonic() + LAST_TURNS
        while self.visits and time.monotonic() < deadline:
            time.sleep(0.05)
        self.server.shutdown()

    def _visit(self, connection: Any) -> None:
        from websockets.exceptions import ConnectionClosed

        with self.lock:
            has_place = len(self.visits) < self.most
            if has_place:
                self.visits.add(connection)
        try:
            with suppress(ConnectionClosed):  # who has left hears no more
                if has_place:
                    self._answer(connection)
                else:
                    _end(connection, BUSY, f"{self.most} streams are heard already: try again later")
        finally:
            self.visits.discard(connection)

    def _answer(self, connection: Any) -> None:
        try:
            first = self._first_message(connection)
            if first is None:
                connection.close(GOING_AWAY, "the server ends")
                return
            sound = None if isinstance(first, bytes) else sound_format(first)
            received = _sound([first] if sound is None else [], iter(connection))
            arrivals = self.listening.arrivals(lambda: next(received, b""), sound)
            Thread(target=_stop_with, args=(self.stopped, arrivals), daemon=True).start()
            for line in hear(self.listening, arrivals, Decoder(sound), self.hearing):
                connection.send(json.dumps(line, ensure_ascii=False))
            connection.close(GOING_AWAY if self.stopped.is_set() else DONE)
        except (UserError, AudioError) as error:
            _end(connection, REFUSED, str(error))

    def _first_message(self, connection: Any) -> bytes | str | None:
        """None where the server ends before it comes; `UserError` where it does not come in time."""
        deadline = time.monotonic() + FIRST_MESSAGE
        while not self.stopped.is_set():
            with suppress(TimeoutError):
                return connection.recv(timeout=0.2)
            if time.monotonic() > deadline:
                raise UserError(f"no message came in {FIRST_MESSAGE} s: connect when there is sound to send")
        return None


def sound_format(message: str) -> SoundFormat:
    """What a client's first message says of its samples.

    Raises:
        UserError: no such message, or a value that there is not.
        AudioError: a rate that there is not.
    """
    try:
        said = json.loads(message)
        unknown = sorted(set(said) - set(SETTINGS))
        if unknown:
            raise UserError(f"{unknown[0]} is none of the settings {', '.join(SETTINGS)}")
        rate, channels = int(said["sampling_rate"]), int(said.get("channels", 1))
        return SoundFormat(rate, channels, str(said.get("encoding", "pcm_16")).lower()).checked()
    except (UserError, AudioError):  # which say more
        raise
    # infinity is no whole number, and what is nested too deep cannot be read
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise UserError('the first message is JSON such as {"sampling_rate": 8000}, or begins a WAV file') from error


def _sound(begun: list[bytes], messages: Iterator[bytes | str]) -> Iterator[bytes]:
    """The bytes of the binary messages, up to a text message, which ends the sound."""
    yield from begun
    for message in messages:
        if isinstance(message, str):
            return
        if message:
            yield message


def _stop_with(stopped: Event, arrivals: Arrivals) -> None:
    while not arrivals.ended:
        if stopped.wait(0.2):
            arrivals.stop()
            return


def _end(connection: Any, code: int, message: str) -> None:
    connection.send(json.dumps({"error": message}))  # in ASCII: what a client wrote may be no UTF-8
    connection.close(code, message.encode(errors="replace")[:LONGEST_REASON].decode(errors="ignore"))
