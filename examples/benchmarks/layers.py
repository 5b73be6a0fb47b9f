"""What an encoder's lowest layers alone save: four of Whisper base's six against all, on the same batch.

python examples/benchmarks/layers.py --output benchmarks/layers

Both are whole models, with ARI, the heads of four auxiliary tasks, co-attention and the classifier. A step of stage 2
goes forward and backward and moves the weights, from what is kept of the frozen layers: of the same lowest third of
the whole encoder in both, or of a third of the layers that each has.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from measuring import alternate, compare, seconds_of, start_torch, write_results
from speech import TASKS

if TYPE_CHECKING:
    from ser_meta.modeling_ser_meta import SerMetaModel

LOG_MEL_FRAMES = 100  # a second
SIZES = {
    "base": {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048},
    "tiny": {"d_model": 32, "encoder_layers": 6, "encoder_attention_heads": 4, "encoder_ffn_dim": 64},
}


def main(
    output: Annotated[Path, typer.Option(help="The results, as this with .json and .md.")] = Path("layers"),
    layers: Annotated[int, typer.Option(help="Of the encoder's six, from the lowest up.")] = 4,
    size: Annotated[str, typer.Option(help="base or tiny.")] = "base",
    batch_size: Annotated[int, typer.Option(help="Recordings at once.")] = 8,
    seconds: Annotated[float, typer.Option(help="Of each recording.")] = 4.5,
    rounds: Annotated[int, typer.Option(help="In each of which both sides are measured once.")] = 15,
    threads: Annotated[int, typer.Option(help="Torch's.")] = 2,
) -> None:
    """Measures the forward pass and the steps of stage 2.

    Example: python examples/benchmarks/layers.py --layers 3 --output layers
    """
    start_torch(threads)
    whole = SIZES[size]["encoder_layers"]
    works = {
        "forward": [forward(make_model(size, count), batch_size, seconds) for count in (layers, None)],
        f"stage 2, the lowest {whole // 3} frozen in both": [
            step(make_model(size, count), whole // 3, batch_size, seconds) for count in (layers, None)
        ],
        "stage 2, a third of each frozen": [
            step(make_model(size, count), (count or whole) // 3, batch_size, seconds) for count in (layers, None)
        ],
    }
    rows = []
    for what, pair in works.items():
        for warm_up in pair:
            warm_up()
        values = alternate({f"{what} {place}": partial(seconds_of, work) for place, work in enumerate(pair)}, rounds)
        rows.append(compare(f"{what}, {layers} of {whole} layers", *values.values(), "s", "at most 0.70"))
    write_results(rows, {"batch": f"{batch_size} x {seconds:g} s", "rounds": rounds, "threads": threads}, output)


def make_model(size: str, layers: int | None) -> "SerMetaModel":
    """A model around an encoder of the size's shape with random weights, and its lowest layers only."""
    import torch
    from transformers import WhisperConfig

    from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel

    torch.manual_seed(0)
    settings = {"speech_config": WhisperConfig(**SIZES[size]), "tasks": TASKS, "coattention_heads": 4}
    model = SerMetaModel(SerMetaConfig(**settings, encoder_layers=layers, standardize_states=True))
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def forward(model: "SerMetaModel", batch_size: int, seconds: float) -> Callable[[], None]:
    """Recognises a batch."""
    import torch

    mels = model.config.speech_config.num_mel_bins
    features = torch.randn(batch_size, mels, round(seconds * LOG_MEL_FRAMES), device=model.device)
    model.eval()

    @torch.no_grad()
    def work() -> None:
        model(input_features=features).logits.cpu()  # which waits for it

    return work


def step(model: "SerMetaModel", frozen: int, batch_size: int, seconds: float) -> Callable[[], None]:
    """Learns from a batch's kept states of the lowest layers."""
    import torch

    model.freeze_layers(frozen)
    model.train()
    shape = (batch_size, frozen, round(seconds * LOG_MEL_FRAMES / 2), model.config.width)
    states = torch.randn(shape, device=model.device)
    targets = {name: torch.zeros(batch_size, dtype=torch.long, device=model.device) for name in labelled(model)}
    optimizer = torch.optim.AdamW(parameter for parameter in model.parameters() if parameter.requires_grad)

    def work() -> None:
        loss = model(layer_states=states, labels=targets).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    return work


def labelled(model: "SerMetaModel") -> list[str]:
    """The tasks that are classifications."""
    return [name for name, task in model.config.tasks.items() if task["kind"] == "classification"]


if __name__ == "__main__":
    typer.run(main)
