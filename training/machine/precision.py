"""The precision in which a run computes: its recipe's, or with `auto` the one that suits the device."""

import torch

from ...configuration.errors import UserError
from .processes import say

CPU_BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # the instructions, as torch names them; the last is ARM's
SLOWDOWN = "33 to 37 times"  # of wav2vec2 base's training step on two AVX2 cores


def choose_precision(precision: str, recorded: str | None = None) -> str:
    """`fp32`, `bf16` or `fp16`; says what `auto` came to, and warns of one that the device is slow in.

    With `auto` a GPU computes in bf16 if it can, and so does a CPU that has instructions for it; all else in fp32.

    Args:
        precision: the recipe's.
        recorded: that of a run that is gone on with: `auto` keeps it on another device too.

    Raises:
        UserError: fp16 without a CUDA GPU.
    """
    chosen = precision
    if precision == "auto":
        chosen = recorded or ("bf16" if computes_fast_in_bf16() else "fp32")
        say(f"precision=auto: {chosen}, {'as the run was started' if recorded else 'which suits this device'}")
    if chosen == "fp16" and not torch.cuda.is_available():
        raise UserError("precision=fp16 needs a CUDA GPU, and there is none: set precision=auto")
    if chosen == "bf16" and not computes_fast_in_bf16():
        say(
            f"precision=bf16 on a device without instructions for it: a training step took {SLOWDOWN} as long as in "
            "fp32 on such a CPU; precision=auto chooses fp32 here"
        )
    return chosen


def computes_fast_in_bf16() -> bool:
    """Whether the device that a training takes has instructions for bf16."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.backends.mps.is_available():
        return False
    flags = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch do not tell
    return any(flags.get(name, False) for name in CPU_BF16)
