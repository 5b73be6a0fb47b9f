"""A library other than torch for a model's forward pass: its graph is written once, checked, and kept in a cache.

~/.cache/ser-meta/backends/<what the weights and all versions hash to>/model.onnx        safe to delete
                                                                      /model.onnx.data   its weights
                                                                      /seconds.json      what `auto` has measured
"""

import hashlib
import json
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock
from transformers.utils import ModelOutput

from .graph_ser_meta import TOLERANCE, check_exportable, difference, flat, noise, open_session, write_graph
from .modeling_ser_meta import SerMetaOutput

if TYPE_CHECKING:
    from .modeling_ser_meta import SerMetaModel
    from .processing_ser_meta import SerMetaProcessor

BACKENDS = ("torch", "onnx", "auto")
VERSIONS = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")
CHECKED = ((1.0, 0.7), (3.1,), (0.4,))  # seconds of the recordings of each batch, beside one of a single frame
TIMED, ROUNDS = ((1.0,), (4.0,)), 3
GRAPH, SECONDS = "model.onnx", "seconds.json"
logger = logging.getLogger(__name__)


class OnnxNetwork:
    """The forward pass of a model in onnxruntime, called as the model is with what the processor gives.

    The graph is opened at the first call, with as many threads as torch has. It holds all weights: those of the model
    are not needed any more.

    Args:
        graph: see `exported`.
        tasks: names, in the config's order.
        target: the target's.
    """

    def __init__(self, graph: Path, tasks: list[str], target: str):
        self.graph, self.tasks, self.target = graph, tasks, target
        self.threads = torch.get_num_threads()

    @cached_property
    def session(self) -> Any:
        """The graph, opened."""
        return open_session(self.graph, self.threads)

    @cached_property
    def outputs(self) -> list[str]:
        """Names of what the graph gives."""
        return [output.name for output in self.session.get_outputs()]

    def __call__(self, **features: torch.Tensor) -> SerMetaOutput:
        """What the model gives, but for losses, attentions and hidden states.

        Raises:
            ValueError: the graph cannot take it, such as a recording longer than the encoder has positions for.
        """
        try:
            found = self.session.run(None, {name: tensor.numpy() for name, tensor in features.items()})
        except Exception as error:  # onnxruntime has no class of its own above its errors
            raise ValueError(f"onnxruntime cannot take it ({str(error).splitlines()[0][:200]})") from error
        named = dict(zip(self.outputs, map(torch.from_numpy, found), strict=True))
        answers = ModelOutput({task: named.pop(f"{task}_logits") for task in self.tasks})
        return SerMetaOutput(logits=answers[self.target], task_logits=answers, **named)


def network_of(
    model: "SerMetaModel", processor: "SerMetaProcessor", backend: str, device: torch.device
) -> OnnxNetwork | None:
    """What computes a model's forward pass in another library; None where torch does.

    Args:
        model: in evaluation mode.
        processor: the model's.
        backend: `torch`, `onnx`, or `auto` for the faster one on this processor, which is measured once. On a GPU, and
            where the model has no graph, `auto` is torch.
        device: on which the model runs.

    Raises:
        ValueError: another backend, one that is not installed, a model that cannot be exported or is not in single
            precision on the CPU, or a graph that gives something else than the model.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend={backend!r} is none of {', '.join(BACKENDS)}")
    if backend == "torch" or (backend == "auto" and not _may_leave_torch(model, device)):
        return None
    if device.type != "cpu" or model.dtype != torch.float32:
        raise ValueError(f"backend='onnx' computes in float32 on the CPU: the model is in {model.dtype} on {device}")
    network = OnnxNetwork(exported(model, processor), list(model.config.tasks), model.config.target_task)
    return network if backend == "onnx" or _is_faster(network, model, processor) else None


def exported(model: "SerMetaModel", processor: "SerMetaProcessor") -> Path:
    """The graph of a model in the cache: its task logits and embeddings; written and checked where it is not there.

    Raises:
        ValueError: the model cannot be exported, its graph gives something else, or the cache cannot be written.
    """
    check_exportable(model)
    folder = cache_folder() / _identity(model)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (folder / GRAPH).is_file():
                logger.warning("writing the network for onnxruntime, once, to %s; it may be deleted any time", folder)
                _write_checked(model, processor, folder)
    except OSError as error:
        raise ValueError(
            f"the network for onnxruntime cannot be kept in {folder} ({error.strerror or error}): mend that, set "
            "XDG_CACHE_HOME, or run it with torch"
        ) from error
    return folder / GRAPH


def cache_folder() -> Path:
    """Where graphs are kept: in `XDG_CACHE_HOME`, by default `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ser-meta" / "backends"


def check_outputs(open_graph: Callable[[], Any], model: "SerMetaModel", processor: "SerMetaProcessor") -> float:
    """The largest difference of a graph's outputs from the model's, at several lengths in several orders.

    A runtime may answer one length rightly and another one wrongly that comes after it: each order is run by a newly
    opened graph, a single frame first in one and last in the other.

    Args:
        open_graph: opens it; what it returns has onnxruntime's `run`.
        model: in evaluation mode.
        processor: the model's.

    Raises:
        ValueError: they differ by more than rounding does.
    """
    shortest = (max(1, model.encoder.shortest_input) / processor.sampling_rate,)
    batches = [noise(processor, seconds) for seconds in (shortest, *CHECKED)]
    with torch.no_grad():
        expected = [(*flat(output), output.embeddings) for output in (model(**batch) for batch in batches)]
    largest = max(numbers.abs().max().item() for _, *outputs in expected for numbers in outputs)
    found = 0.0
    for order in (range(len(batches)), reversed(range(len(batches)))):
        session, order = open_graph(), list(order)
        for number in (*order, order[0]):
            found = max(found, difference(session, batches[number], expected[number]))
    if found > TOLERANCE * max(1.0, largest):
        raise ValueError(f"the exported network's outputs differ from the model's by {found:.2g}: run it with torch")
    return found


@torch.no_grad()
def _write_checked(model: "SerMetaModel", processor: "SerMetaProcessor", folder: Path) -> None:
    """Writes beside its place, so that what breaks off, or is wrong, is never found there."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        graph = Path(scratch) / GRAPH
        write_graph(model, noise(processor), graph, embeddings=True, weights_beside=True)
        check_outputs(lambda: open_session(graph), model, processor)
        folder.mkdir(exist_ok=True)
        for part in sorted(Path(scratch).iterdir(), reverse=True):  # the graph, which tells that all is there, last
            os.replace(part, folder / part.name)


def _identity(model: "SerMetaModel") -> str:
    """A name for a model's weights and settings, the code that runs them, and the libraries' versions."""
    told = model.config.to_dict()
    settings = {name: told[name] for name in told if name not in ("_name_or_path", "transformers_version")}
    versions = {name: _version(name) for name in VERSIONS}
    digest = hashlib.sha256(json.dumps([settings, versions], sort_keys=True, default=str).encode())
    for path in sorted(Path(__file__).parent.glob("*_ser_meta.py")):
        digest.update(path.read_bytes())
    for name, weights in sorted(model.state_dict().items()):
        digest.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
        digest.update(weights.contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:32]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # onnxruntime has packages of other names
        return None


def _may_leave_torch(model: "SerMetaModel", device: torch.device) -> bool:
    """Whether there is a choice; what stands against it is told."""
    if device.type != "cpu" or model.dtype != torch.float32:
        return False
    try:
        check_exportable(model)
    except ValueError as error:
        logger.warning("torch is used: %s", error)
        return False
    return True


def _is_faster(network: OnnxNetwork, model: "SerMetaModel", processor: "SerMetaProcessor") -> bool:
    """Whether a network takes less time than the model here, as measured now or before."""
    path, here = network.graph.parent / SECONDS, f"{_processor_name()}, {network.threads} threads"
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if here not in known:
        known[here] = _seconds(network, model, processor)
        path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        told = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in known[here].items())
        logger.warning("%s for 5 s of sound on %s; remembered in %s", told, here, path)
    return min(known[here], key=known[here].get) == "onnx"


@torch.no_grad()
def _seconds(network: OnnxNetwork, model: "SerMetaModel", processor: "SerMetaProcessor") -> dict[str, float]:
    """By backend, how long 5 s of sound take: medians, measured by turns."""
    batches, sides = [noise(processor, seconds) for seconds in TIMED], {"torch": model, "onnx": network}
    taken = {name: [] for name in sides}
    for _ in range(ROUNDS + 1):
        for name, side in sides.items():
            started = time.perf_counter()
            for batch in batches:
                side(**batch)
            taken[name].append(time.perf_counter() - started)
    return {name: round(statistics.median(values[1:]), 4) for name, values in taken.items()}  # without the warm-up


def _processor_name() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8", errors="replace").splitlines() if facts.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
