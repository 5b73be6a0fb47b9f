"""A GPU that is pretended on the CPU: real numbers, the rules of a device of its own, and a list of all waits for it.

    with PretendedGpu() as gpu:
        model.to(gpu.device)(**batch)  # a tensor that was left on the CPU meets one of the GPU: an error, as on CUDA
    gpu.waits                          # the functions that had to wait for the GPU, to read from it or to copy to it

It is torch's place for other makers' devices, so that torch needs neither CUDA nor a driver for it. The functions of
`waits` are the project's and Transformers', as `file.function`; `backward` stands for what autograd calls. Of indexing
by a mask some is counted for which CUDA need not wait.
"""

import traceback
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from ser_meta import configuration, modeling_ser_meta, training

NAME = "pretended"
ROOMS = {Path(room.__path__[0]) for room in (configuration, modeling_ser_meta, training)}  # installed, or the checkout
BETWEEN_DEVICES = {"aten::copy_", "aten::_to_copy", "aten::lift_fresh"}
READING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal", "bincount"}


class _Hook(torch._C._acc.PrivateUse1Hooks):
    def is_available(self) -> bool:
        return PretendedGpu.entered

    def has_primary_context(self, index: int) -> bool:
        return True

    def is_built(self) -> bool:
        return True


class _Module:
    """What torch asks of a device's module."""

    is_available = staticmethod(lambda: PretendedGpu.entered)
    is_initialized = staticmethod(lambda: True)
    current_device = staticmethod(lambda: 0)
    device_count = staticmethod(lambda: 1)
    manual_seed_all = staticmethod(lambda seed: None)
    _is_in_bad_fork = staticmethod(lambda: False)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])


# here, since autograd counts the devices when it is first used; for all other tests there is none
_setup_privateuseone_for_python_backend(NAME, _Module(), _Hook())
# torch gives every module a method of the device's name, which other tests would meet
delattr(torch.nn.Module, NAME)


class OnGpu(torch.Tensor):
    """A tensor that says it is on the GPU; its numbers are in `held`, on the CPU."""

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "OnGpu":
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, held.shape, device=torch.device(NAME, 0), **layout)

    def __init__(self, held: torch.Tensor):
        self.held = held

    def __repr__(self) -> str:
        return f"OnGpu({self.held})"

    def tolist(self) -> Any:
        return self.cpu().tolist()  # torch refuses it of subclasses

    def __format__(self, specification: str) -> str:
        return format(self.cpu(), specification)

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(function, args, kwargs or {}, [])


class PretendedGpu(TorchDispatchMode):
    """Within it there is `device`; `waits` are told in their order, and may be cleared."""

    entered = False
    device = NAME

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __enter__(self) -> "PretendedGpu":
        self.before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        PretendedGpu.entered = True
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        PretendedGpu.entered = False
        torch._C._set_only_lift_cpu_tensors(self.before)

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(function, args, kwargs or {}, self.waits)


def _run(function: Any, args: tuple, kwargs: dict, waits: list[str]) -> Any:
    """One operation: checked, computed on the CPU, its results on the device where they belong."""
    name, asked = function._schema.name, kwargs.get("device")
    if name == "aten::_pin_memory":
        return args[0].clone()
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    on_gpu = any(isinstance(tensor, OnGpu) for tensor in tensors)
    to_gpu = on_gpu if asked is None else torch.device(asked).type == NAME
    if name == "aten::copy_":
        to_gpu = isinstance(args[0], OnGpu)
    indices = args[1] if name.startswith("aten::index") and len(args) > 1 and isinstance(args[1], list) else []
    if on_gpu and name not in BETWEEN_DEVICES:
        _refuse_strangers(name, [tensor for tensor in tensors if not any(tensor is index for index in indices)])
    if _waits(name, args, kwargs, on_gpu, to_gpu, [index for index in indices if index is not None]):
        waits.append(_place())
    given, named = tree_map_only(OnGpu, lambda tensor: tensor.held, (args, kwargs))
    if asked is not None:
        named = {**named, "device": torch.device("cpu")}
    if named.get("pin_memory"):
        named = {**named, "pin_memory": False}
    found = function(*given, **named)
    if name == "aten::_to_copy":
        return OnGpu(found) if to_gpu else found
    if name == "aten::copy_":
        return args[0]
    if not to_gpu:
        return found
    wrapped = tree_map_only(torch.Tensor, OnGpu, found)
    return return_and_correct_aliasing(function, args, kwargs, wrapped) if on_gpu else wrapped


def _refuse_strangers(name: str, tensors: list[torch.Tensor]) -> None:
    """As CUDA does: beside a tensor of the GPU one of the CPU must be a single number."""
    strangers = [tuple(tensor.shape) for tensor in tensors if not isinstance(tensor, OnGpu) and tensor.dim()]
    if strangers:
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, but {strangers} are on the CPU")


def _waits(name: str, args: tuple, kwargs: dict, on_gpu: bool, to_gpu: bool, indices: list[torch.Tensor]) -> bool:
    """Whether torch would wait until the GPU has done all that it was asked before."""
    if name == "aten::_to_copy":
        return on_gpu != to_gpu and not (to_gpu and kwargs.get("non_blocking"))
    if name == "aten::copy_":
        asynchronous = to_gpu and len(args) > 2 and args[2]
        return isinstance(args[0], OnGpu) != isinstance(args[1], OnGpu) and not asynchronous
    if not on_gpu:
        return False
    if any(index.dtype == torch.bool or not isinstance(index, OnGpu) for index in indices):
        return True
    return name.removeprefix("aten::") in READING


def _place() -> str:
    """The innermost function of the project or of Transformers in the stack."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if ROOMS & set(path.parents) or "transformers" in path.parts:
            return f"{path.stem}.{frame.name}"
    return "backward"
