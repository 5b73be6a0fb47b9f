"""A training step of a large encoder through LoRA against one of all its weights: its peak of memory, and its time.

python examples/benchmarks/lora.py --encoder wavlm --output lora

Both sides take the same batch through the same model of random weights, its convolutions frozen, with the losses of
all tasks and AdamW. Each side of a round has a process of its own, which takes one step to warm up and then those that
are measured. The peak is the most memory that the process has had (`VmHWM`), beyond what it had before there was a
model; on a GPU, what torch has allocated.
"""

import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from measuring import alternate, compare, in_new_process, peak_megabytes, seconds_of, start_torch, write_results
from speech import RATE, SIZES, TASKS

MEASURED = {  # of a step: its unit, and what the ratio is to be
    "memory": ("MB", "at most 0.5"),
    "time": ("s", "at most 0.75"),
    "processor time": ("s", "at most 0.75"),  # the same on a machine where others work meanwhile
}


def main(
    output: Annotated[Path, typer.Option(help="The results, as this with .json and .md.")] = Path("lora"),
    encoder: Annotated[list[str] | None, typer.Option(help="wavlm or wav2vec2 (default: both).")] = None,
    size: Annotated[str, typer.Option(help="large or tiny.")] = "large",
    batch: Annotated[int, typer.Option(help="Recordings in a step.")] = 4,
    seconds: Annotated[float, typer.Option(help="That each of them lasts.")] = 3.0,
    rank: Annotated[int, typer.Option(help="Of the adapter.")] = 8,
    targets: Annotated[str, typer.Option(help="attention or all-linear.")] = "attention",
    checkpointing: Annotated[bool, typer.Option(help="Of both sides: compute twice to keep less.")] = False,
    steps: Annotated[int, typer.Option(help="That are measured in a process.")] = 1,
    rounds: Annotated[int, typer.Option(help="In each of which every side is measured once.")] = 3,
    threads: Annotated[int, typer.Option(help="Torch's.")] = 2,
) -> None:
    """Measures a training step through LoRA against full fine-tuning.

    Example: python examples/benchmarks/lora.py --encoder wavlm --rounds 3 --output lora
    """
    settings = {
        **{"size": size, "batch": f"{batch} x {seconds:g} s", "rank": rank, "targets": targets},
        **{"checkpointing": checkpointing, "steps": steps, "rounds": rounds, "threads": threads},
    }
    rows = []
    for family in encoder or ["wavlm", "wav2vec2"]:
        step = partial(in_new_process, measure_steps, family, size, batch, seconds, checkpointing, steps, threads)
        adapter = {"rank": rank, "targets": targets}
        lora, full = alternate({"LoRA": partial(step, adapter), "full": partial(step, None)}, rounds).values()
        remark = f"{lora[0]['trained']:.4g} against {full[0]['trained']:.4g} million weights trained"
        for what in (what for what in MEASURED if what in lora[0]):
            values = [[found[what] for found in side] for side in (lora, full)]
            rows.append(compare(f"{what} of a step, {family}", *values, *MEASURED[what], remark))
    write_results(rows, settings, output)


def measure_steps(
    family: str,
    size: str,
    batch: int,
    seconds: float,
    checkpointing: bool,
    steps: int,
    threads: int,
    adapter: dict[str, Any] | None,
) -> dict[str, float]:
    """The peak of memory in MB, the seconds of a step, and how many million weights it trains."""
    import peft  # noqa: F401
    import torch

    from ser_meta.modeling_ser_meta import SerMetaModel  # noqa: F401

    start_torch(threads)
    on_gpu = torch.cuda.is_available()
    before = 0.0 if on_gpu else peak_megabytes()
    model = make_model(family, size, adapter).to("cuda" if on_gpu else "cpu").train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    inputs = make_inputs(batch, seconds, model.device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)
    step = partial(take_step, model, inputs, optimizer)
    step()
    worked = time.process_time()
    taken = seconds_of(lambda: [step() for _ in range(steps)]) / steps
    worked = {} if on_gpu else {"processor time": (time.process_time() - worked) / steps}
    peak = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else peak_megabytes() - before
    return {"memory": peak, "time": taken, **worked, "trained": sum(parameter.numel() for parameter in trained) / 1e6}


def make_model(family: str, size: str, adapter: dict[str, Any] | None) -> Any:
    """A model with random weights, all of which are trained but the convolutions; or an adapter in their place.

    Its layers are joined as in the recipe `wavlm-large-lora`.
    """
    import torch
    from transformers import AutoConfig

    from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel

    torch.manual_seed(0)
    speech_config = AutoConfig.for_model(family, **SIZES[size])
    model = SerMetaModel(SerMetaConfig(speech_config=speech_config, tasks=TASKS, ari_weighting="channel"))
    model.freeze_feature_encoder()
    if adapter is not None:
        model.add_encoder_adapter(**adapter)
        model.freeze_all_but_adapter()
    return model


def make_inputs(batch: int, seconds: float, device: Any) -> dict[str, Any]:
    """Noise and labels, the same for both sides."""
    import torch

    draws = torch.Generator().manual_seed(0)
    labels = {name: torch.zeros(batch, dtype=torch.long) for name in TASKS if name != "transcript"}
    labels["transcript"] = torch.randint(3, 30, (batch, round(5 * seconds)), generator=draws)
    noise = 0.1 * torch.randn(batch, round(seconds * RATE), generator=draws)
    return {"input_values": noise.to(device), "labels": {name: values.to(device) for name, values in labels.items()}}


def take_step(model: Any, inputs: dict[str, Any], optimizer: Any) -> None:
    """As the Trainer takes it."""
    import torch

    from ser_meta.training.learning.cpu_dropout import fast_dropout

    optimizer.zero_grad()
    with nullcontext() if torch.cuda.is_available() else fast_dropout():
        model(**inputs).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    typer.run(main)
