"""A reader in a process of its own, so that a crash, a hang or a memory balloon is seen and put down to its input."""

import multiprocessing
import os
import resource
import tempfile
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

PATIENCE = 60  # seconds of the wall clock, on a machine that may be busy, until a process counts as hanging
LIMIT = 1.0  # seconds of computation that an input may take
MEMORY = 256 * 2**20  # bytes that an input may take beyond what the process has after its first one
GOOD = ("result", "refused")


class Outcome(NamedTuple):
    """What became of one input.

    Args:
        kind: `result` or `refused` (our error, on one line). Any other is a defect: `crash`, `hang`, `slow`,
            `balloon`, `lines` (our error on several), `traceback`, or `noise` (one that Python could only print).
        detail: the result, the message, or what went wrong.
        seconds: of computation.
    """

    kind: str
    detail: Any
    seconds: float


class Guarded:
    """Calls `module.function` of the folder `support` in a process with limits; a new one follows one that died.

    Args:
        module, function: the reader, which raises one of `errors` for what it refuses.
        errors: the classes, as `module:name`.
        first: an input to warm up on before the limits are set.
    """

    def __init__(self, module: str, function: str, errors: list[str], first: Any, memory: int = MEMORY):
        self._given = (module, function, errors, first, memory)
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def __enter__(self) -> "Guarded":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def __call__(self, item: Any) -> Outcome:
        self._connection.send(item)
        try:
            if self._connection.poll(PATIENCE):
                return self._connection.recv()
            outcome = Outcome("hang", f"nothing within {PATIENCE} s", PATIENCE)
        except EOFError:
            self._process.join()
            outcome = Outcome("crash", f"exit code {self._process.exitcode}", 0)
        self.__exit__()
        self._start()
        return outcome

    def _start(self) -> None:
        self._connection, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(theirs, *self._given), daemon=True)
        self._process.start()
        theirs.close()
        if not self._connection.poll(10 * PATIENCE) or self._connection.recv() != "ready":
            raise RuntimeError(f"{self._given[0]}.{self._given[1]} did not survive its first input")


def _serve(connection: Any, module: str, function: str, errors: list[str], first: Any, memory: int) -> None:
    read = getattr(import_module(module), function)
    refusals = tuple(getattr(import_module(where), name) for where, name in (path.split(":") for path in errors))
    read(first)
    noise = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
    os.dup2(noise.fileno(), 2)
    limit = _address_space() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    connection.send("ready")
    while True:
        connection.send(_judge(read, connection.recv(), refusals, noise))


def _judge(read: Callable[[Any], Any], item: Any, refusals: tuple[type[Exception], ...], noise: Any) -> Outcome:
    start = time.process_time()
    try:
        kind, detail = "result", read(item)
    except refusals as error:
        kind, detail = "refused", str(error)
    except MemoryError:
        kind, detail = "balloon", traceback.format_exc()
    except BaseException:
        kind, detail = "traceback", traceback.format_exc()
    seconds = time.process_time() - start
    os.lseek(2, 0, os.SEEK_SET)
    printed = os.pread(2, os.fstat(2).st_size, 0)
    noise.truncate(0)
    if b"Traceback" in printed:
        kind, detail = "noise", printed.decode(errors="replace")
    elif kind == "refused" and not _is_one_line(detail):
        kind = "lines"
    elif kind in GOOD and seconds > LIMIT:
        kind = "slow"
    return Outcome(kind, detail, seconds)


def _is_one_line(message: str) -> bool:
    return len(message.splitlines()) == 1 and len(message) > 20


def _address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
