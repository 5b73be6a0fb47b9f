"""What a stage's steps take of the device's memory, found before anything is trained, and what bounds them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from ...configuration.errors import UserError
from ...configuration.recipe import Recipe, StageRecipe
from ...modeling_ser_meta.modeling_ser_meta import SerMetaModel
from ...modeling_ser_meta.processing_ser_meta import SerMetaProcessor
from ..batches.micro_batches import PaddedBound
from ..planning.lengths import ALONE, usual_length
from .cpu_dropout import fast_dropout

PROBED = (1.0, 2.0, 4.0)  # seconds of noise
BACKWARD = 1.4  # times what is kept for the backward pass, which makes tensors of its own (ours, measured)
BESIDE = 150e6  # bytes that a process on a CPU takes later for its libraries' own buffers (ours, measured)
CGROUP = Path("/sys/fs/cgroup/memory.max")  # what a container may take


@dataclass(frozen=True)
class Footprint:
    """Bytes of memory that a training step takes.

    Args:
        resident: whatever the recordings are: the process as it is (on a GPU its tensors), gradients, and the
            optimizer's two moments.
        linear: of an utterance, a second of its padded length.
        quadratic: of an utterance, a squared second: attention's weights and masks.
    """

    resident: float
    linear: float
    quadratic: float

    @property
    def crossover(self) -> float:
        """See `PaddedBound`."""
        return self.linear / self.quadratic if self.quadratic > 0 else float("inf")

    def peak(self, counted: float) -> float:
        """With a micro-batch that counts so much, see `PaddedBound`."""
        return self.resident + self.linear * counted


@dataclass(frozen=True)
class StagePlan:
    """How a stage's batches are bounded, and what they take.

    Args:
        bound: of a micro-batch.
        footprint: of the stage's steps.
        longest: of the training side's recordings, in seconds.
        largest: what the largest batch counts, if it were computed as a whole.
        slowest: the factor of the slowest speed at which recordings are played.
    """

    bound: PaddedBound
    footprint: Footprint
    longest: float
    largest: float
    slowest: float

    @property
    def peak(self) -> float:
        """The bytes that the stage is expected to take at most."""
        alone = self.bound.count(self.longest / self.slowest)
        return self.footprint.peak(max(alone, min(self.bound.most, self.largest)))

    @property
    def longest_alone(self) -> float:
        """Seconds up to which a recording is trained on unasked: as much as a micro-batch, or `ALONE`."""
        most = max(self.bound.most, self.bound.count(ALONE / self.slowest))
        return PaddedBound(most, self.bound.crossover).longest() * self.slowest

    def words(self, device: torch.device) -> str:
        """The plan in one line."""
        at_once = max(self.longest, self.bound.longest() * self.slowest)
        peak, all_of_it = self.peak / 1e9, device_memory(device) / 1e9
        return (
            f"the longest recording lasts {self.longest:.1f} s; at once is computed what one of {at_once:.0f} s would "
            f"take, or less: about {peak:.1f} of {all_of_it:.0f} GB of memory at the peak"
        )


def plan_stage(
    recipe: Recipe, stage: StageRecipe, model: SerMetaModel, processor: SerMetaProcessor, seconds: Sequence[float]
) -> StagePlan:
    """The plan of a stage with a model whose parameters are frozen as in it.

    Args:
        seconds: that the training side's recordings last.
    """
    footprint = measure(model, processor, recipe.precision)
    slowest = min(1.0, *recipe.data.speed_factors)
    longest = max(seconds) / slowest
    counting = PaddedBound(float("inf"), footprint.crossover)
    if stage.batch_duration is None:
        largest = counting.count(longest, min(stage.batch_size, len(seconds)))
        bound = PaddedBound.usual(seconds, stage.batch_size, footprint.crossover)
    else:
        largest = stage.batch_duration / slowest * (1 + longest / footprint.crossover)
        bound = PaddedBound(max(largest, counting.count(longest)), footprint.crossover)
    room = (device_memory(model.device) - footprint.resident) / footprint.linear
    if room > 0:
        bound = PaddedBound(min(bound.most, room), footprint.crossover)
    return StagePlan(bound, footprint, max(seconds), largest, slowest)


def check_plan(recipe: Recipe, plan: StagePlan, names: Sequence[str], seconds: Sequence[float]) -> None:
    """Refuses a recording that decides the memory alone, unless `data.longest` says that it is to be trained on.

    Args:
        names: of the training side's recordings.
        seconds: that they last.

    Raises:
        UserError: with the recording, its length and what would mend it.
    """
    limit = plan.longest_alone
    beyond = sorted((length, name) for length, name in zip(seconds, names, strict=True) if length > limit)
    if not beyond or recipe.data.longest is not None:
        return
    longest, name = beyond[-1]
    others = f" (and {len(beyond) - 1} more are too long)" if len(beyond) > 1 else ""
    kept = floor(limit + 1e-6)
    raise UserError(
        f"{name} lasts {longest:.1f} s{others}, where nine of ten recordings of the training side last at most "
        f"{usual_length(seconds):.1f} s: alone it would take the memory to {plan.peak / 1e9:.1f} GB; leave out what "
        f"is longer than {kept} s with data.longest={kept}, or train on it as it is with "
        f"data.longest={floor(longest) + 1}"
    )


def measure(model: SerMetaModel, processor: SerMetaProcessor, precision: str = "fp32") -> Footprint:
    """Counts the bytes that a few seconds of noise need; nothing is drawn from the global generators."""
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    device = model.device
    on_gpu = device.type == "cuda"
    process = torch.cuda.memory_allocated(device) if on_gpu else psutil.Process().memory_info().rss + BESIDE
    seconds = np.array(PROBED)
    with _unchanged(model):
        needed = np.array([_needed(model, processor, length, precision) for length in PROBED])
    (linear, quadratic), *_ = np.linalg.lstsq(np.stack([seconds, seconds**2], axis=1), needed, rcond=None)
    # gradients and two moments
    return Footprint(process + 3 * trained, float(linear), max(0.0, float(quadratic)))


def device_memory(device: torch.device) -> float:
    """Bytes that the device has; of a CPU those that the process may take."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    limit = CGROUP.read_text().strip() if CGROUP.is_file() else "max"
    total = psutil.virtual_memory().total
    return min(total, int(limit)) if limit.isdigit() else total


def _needed(model: SerMetaModel, processor: SerMetaProcessor, seconds: float, precision: str) -> float:
    """Bytes for each of two utterances, of which one is padded as in a batch.

    Either what autograd keeps and the backward pass adds; or, where little is trained, what it keeps, the states of
    all layers, and a module's input and output.
    """
    noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * processor.sampling_rate)).astype(np.float32)
    inputs = processor([noise, noise[: len(noise) // 2]], sampling_rate=processor.sampling_rate).to(model.device)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept, outputs = {}, [0]

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # an output that kept itself would never be freed

    def look(module: torch.nn.Module, arguments: tuple, output: Any) -> None:
        outputs.append(output.nbytes if isinstance(output, torch.Tensor) else 0)

    half = model.device.type == "cuda" and precision != "fp32"
    mixed = torch.autocast(model.device.type, torch.float16 if precision == "fp16" else torch.bfloat16, half)
    fast = fast_dropout() if model.device.type == "cpu" else nullcontext()
    looking = torch.nn.modules.module.register_module_forward_hook(look)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), fast, mixed:
        output = model(**inputs, output_hidden_states=True)  # while it lives, no storage takes another's place
    looking.remove()
    for_backward = sum(kept.values())
    for state in output.hidden_states:
        keep(state)
    return max(BACKWARD * for_backward, sum(kept.values()) + 2 * max(outputs)) / 2


@contextmanager
def _unchanged(model: SerMetaModel) -> Iterator[None]:
    """Meanwhile the model is in training mode; afterwards it and the generators are as before."""
    training, state = model.training, np.random.get_state()
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        try:
            yield model.train()
        finally:
            model.train(training)
            np.random.set_state(state)
