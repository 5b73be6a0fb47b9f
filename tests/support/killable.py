"""The command line in a process of its own, which a test may kill, forked from one that has imported everything."""

import gc
import multiprocessing
import os
import signal
import socket
import sys
from pathlib import Path

from ser_meta.training.__main__ import main

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["killable", "ser_meta.training.runs.stages", "ser_meta.training.studies.ablation"])
EVENTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")


def start(
    *arguments: object,
    log: Path,
    writing: Path | None = None,
    kill_at: int | str | None = None,
    number: int = signal.SIGKILL,
    environment: dict[str, str] | None = None,
) -> multiprocessing.Process:
    """A process that runs `ser-meta` with these arguments; what it prints goes to the file `log`.

    Args:
        writing: a folder; touches of files below it are counted; their number is in `log` with the suffix `.touches`.
        kill_at: a signal comes just before the touch with this number, from 0, or the first of a path that ends so.
        number: of that signal.
        environment: variables of the process.
    """
    command = ["ser-meta", *map(str, arguments)]
    touches = Touches(str(writing or ""), kill_at, number)
    process = CONTEXT.Process(target=_run, args=(command, str(log), touches, environment or {}))
    process.start()
    return process


def run(*arguments: object, log: Path, **options) -> int:
    """The exit code of such a process; a signal's is negative."""
    process = start(*arguments, log=log, **options)
    process.join()
    return process.exitcode


def start_together(
    processes: int, *arguments: object, log: Path, by_place: dict[int, dict] | None = None
) -> list[multiprocessing.Process]:
    """Processes that train together on the CPU, as `accelerate launch` starts them; each has a log of its own.

    Args:
        processes: how many.
        arguments, log: as `start`'s.
        by_place: options of single processes, from 0, as `start`'s.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    return [
        start(
            *arguments,
            log=log.with_name(f"{log.name}-{rank}"),
            environment={name: str(value) for name, value in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()},
            **(by_place or {}).get(rank, {}),
        )
        for rank in range(processes)
    ]


def run_together(processes: int, *arguments: object, log: Path, **options) -> tuple[list[int], list[str]]:
    """The exit codes of processes that `start_together` starts, and what each has printed."""
    started = start_together(processes, *arguments, log=log, **options)
    for process in started:
        process.join()
    logs = [log.with_name(f"{log.name}-{rank}") for rank in range(processes)]
    return [process.exitcode for process in started], [log.read_text() for log in logs]


def _run(command: list[str], log: str, touches: "Touches", environment: dict[str, str]) -> None:
    gc.freeze()  # what was imported before the fork is looked through for garbage no more
    os.environ.update(environment)
    sys.argv = command
    with open(log, "w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    if touches.folder:
        sys.addaudithook(touches)
    try:
        main()
    finally:
        Path(log).with_suffix(".touches").write_text(str(touches.count))


class Touches:
    """An audit hook that counts what Python does to files of a folder."""

    def __init__(self, folder: str, kill_at: int | str | None, number: int):
        self.folder, self.kill_at, self.number, self.count = folder, kill_at, number, 0
        self.ending = kill_at if isinstance(kill_at, str) else None

    def __call__(self, event: str, values: tuple) -> None:
        if event in EVENTS and isinstance(values[0], str | Path) and str(values[0]).startswith(self.folder):
            if self.count == self.kill_at or (self.ending and str(values[0]).endswith(self.ending)):
                self.ending = None
                os.kill(os.getpid(), self.number)
            self.count += 1
