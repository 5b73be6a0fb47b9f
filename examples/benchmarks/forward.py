"""What all that stands above the encoder costs: the whole model against its backbone alone, on the same batch.

python examples/benchmarks/forward.py --output benchmarks/forward

The whole model is ARI with matrices, the heads of four auxiliary tasks, co-attention and the classifier; the backbone
is Transformers' own and gives its hidden states, as ARI needs them.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from measuring import alternate, compare, seconds_of, start_torch, write_results
from speech import RATE, SIZES, TASKS


def main(
    output: Annotated[Path, typer.Option(help="The results, as this with .json and .md.")] = Path("forward"),
    encoder: Annotated[list[str] | None, typer.Option(help="wav2vec2, hubert, wavlm (default: all).")] = None,
    size: Annotated[str, typer.Option(help="base or tiny.")] = "base",
    batch_size: Annotated[int, typer.Option(help="Recordings at once.")] = 4,
    seconds: Annotated[float, typer.Option(help="Of each recording.")] = 4.5,
    rounds: Annotated[int, typer.Option(help="In each of which both sides are measured once.")] = 15,
    threads: Annotated[int, typer.Option(help="Torch's.")] = 2,
) -> None:
    """Measures the forward pass of the whole model.

    Example: python examples/benchmarks/forward.py --encoder wavlm --output forward
    """
    start_torch(threads)
    rows = []
    for family in encoder or ["wav2vec2", "hubert", "wavlm"]:
        sides = both_sides(family, size, batch_size, seconds)
        for warm_up in sides.values():
            warm_up()
        values = alternate({name: partial(seconds_of, work) for name, work in sides.items()}, rounds)
        rows.append(compare(f"whole forward, {family}", values["whole"], values["backbone"], "s", "at most 1.10"))
    settings = {"size": size, "batch": f"{batch_size} x {seconds:g} s", "rounds": rounds, "threads": threads}
    write_results(rows, settings, output)


def both_sides(family: str, size: str, batch_size: int, seconds: float) -> dict[str, Callable[[], None]]:
    """The whole model, and the stock backbone of the same shape."""
    import torch
    from transformers import AutoConfig, AutoModel

    from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    speech_config = AutoConfig.for_model(family, **SIZES[size])
    backbone = AutoModel.from_config(speech_config).eval().to(device)
    model = SerMetaModel(SerMetaConfig(speech_config=speech_config, tasks=TASKS)).eval().to(device)
    waves = torch.randn(batch_size, round(seconds * RATE), device=device)

    @torch.no_grad()
    def whole() -> None:
        model(waves).logits.cpu()  # which waits for it

    @torch.no_grad()
    def alone() -> None:
        backbone(waves, output_hidden_states=True).last_hidden_state.cpu()

    return {"backbone": alone, "whole": whole}


if __name__ == "__main__":
    typer.run(main)
