"""A GPU to test on where there is none: the code runs on it as on CUDA, and every wait for it is told.

Tensors say that they live on ``cuda:0`` and hold their numbers on the CPU. Every operation goes through one
function, which refuses what CUDA refuses (operands on two devices, products of integers), tells what makes
the host wait for the device (a number read, a shape that depends on numbers, a copy between the two), and
then computes on the CPU, so that results are those of the CPU. What it cannot show: that kernels exist and
are right for these types, their order of summation, CUDA's own random streams, memory, streams and graphs.
Where there is a GPU the same tests run on it, and torch itself tells of the waits.
"""

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GUARDS = "_ZN3c104impl26device_guard_impl_registryE"  # torch's table of who switches devices, by their type
CUDA, META, DEVICE_TYPES = 1, 14, 21
READS = {  # operations whose result, or the size of it, or whether they are allowed, the host must know
    *("_local_scalar_dense", "equal", "is_nonzero", "nonzero", "masked_select", "bincount", "multinomial"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive"),
}
INDEXES = {"index", "index_put", "index_put_", "_index_put_impl_"}
PRODUCTS = {"mm", "bmm", "addmm", "baddbmm", "addmv", "mv", "dot"}
MASKS = (torch.bool, torch.uint8)


class Waited(RuntimeError):
    """The host would wait for the device where it must not."""


class OnDevice(torch.Tensor):
    """A tensor that says it is on the GPU."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "OnDevice":
        with torch.inference_mode(False):
            made = torch.Tensor._make_wrapper_subclass(
                cls,
                held.shape,
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                device="cuda:0",
            )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        raise RuntimeError(f"{func} of a tensor of the simulated GPU, which is not there any more")

    def __repr__(self) -> str:
        return f"OnDevice({self.held})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __format__(self, spec: str) -> str:
        return format(self.item() if self.dim() == 0 else repr(self), spec)


class SimulatedGPU(TorchDispatchMode):
    """Attributes:
    told: what the host waited for so far, operation by operation.
    strict: whether a wait raises.
    """

    plays_as_the_cpu = True

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.strict = False

    @contextlib.contextmanager
    def no_waiting(self) -> Iterator[None]:
        """Within the block the host may not wait for the device."""
        before, self.strict = self.strict, True
        try:
            yield
        finally:
            self.strict = before

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if (
            torch.is_inference_mode_enabled()
        ):  # where composite operations come here before they are taken apart
            with self:
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        there = [isinstance(tensor, OnDevice) for tensor in tensors]
        asked = kwargs.get("device")
        lands = any(there) if asked is None else torch.device(asked).type != "cpu"
        if any(there) or lands:
            refuse_what_cuda_refuses(func, args, tensors, there)
            self._tell(why_it_waits(func, args, kwargs, tensors, there, lands))
        found = func(*tree_map(on_cpu, args), **tree_map(on_cpu, kwargs))
        return with_arguments(func, args, kwargs, tree_map(on_device, found) if lands else found)

    def _tell(self, reason: str | None) -> None:
        if reason is None:
            return
        if self.strict:
            raise Waited(reason)
        self.told.append(reason)


def refuse_what_cuda_refuses(func: Any, args: tuple, tensors: list[torch.Tensor], there: list[bool]) -> None:
    """Operands on two devices, but for scalars, copies and indices; products of integers."""
    name = func.overloadpacket.__name__
    if name in PRODUCTS and any(there) and not tensors[0].is_floating_point():
        raise RuntimeError(f'"{name}_cuda" not implemented for {tensors[0].dtype}')
    if all(there) or not any(there) or name in {"copy_", "_to_copy"}:
        return
    strangers = [t for t, is_there in zip(tensors, there, strict=True) if not is_there]
    elementwise = torch.Tag.pointwise in func.tags or name in {"fill_", "masked_fill", "masked_fill_"}
    if name in INDEXES:  # indices may be anywhere, and a single value
        strangers = [t for t in (args[0], *args[2:3]) if not isinstance(t, OnDevice) and t.dim()]
    if any(t.dim() or not elementwise for t in strangers):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, cuda:0, not cpu")


def why_it_waits(
    func: Any, args: tuple, kwargs: dict, tensors: list[torch.Tensor], there: list[bool], lands: bool
) -> str | None:
    """Why the host waits for the device in this operation; None if it does not."""
    name = func.overloadpacket.__name__
    if name in READS or (name == "repeat_interleave" and kwargs.get("output_size") is None):
        return f"{func} reads what the device holds"
    if name in {"copy_", "_to_copy"}:
        crosses = not all(there) if name == "copy_" else there[0] != lands
        waits = crosses and not (lands and (kwargs.get("non_blocking") or args[2:] == (True,)))
        return f"{func} of {list(tensors[-1].shape)} crosses the bus" if waits else None
    if name in INDEXES:
        indices = [index for index in args[1] if index is not None]
        if any(index.dtype in MASKS for index in indices) and not is_masked_fill(name, args):
            return f"{func} by a mask reads how many are true"
        if not all(there) and not is_masked_fill(name, args):
            return f"{func} with an index or a value that is not on the device"
    if name in {"masked_fill", "masked_fill_"} and func._overloadname == "Tensor" and there[-1]:
        return f"{func} reads the value to fill in"
    if name == "where" and not all(there):
        return f"{func} of a scalar that is not on the device"
    return None


def is_masked_fill(name: str, args: tuple) -> bool:
    """Whether torch writes one number of the host's where a mask is true, and counts nothing."""
    written = name != "index" and not isinstance(args[2], OnDevice) and args[2].numel() == 1
    return written and len(args[1]) == 1 and args[1][0].dtype in MASKS


def on_cpu(value: Any) -> Any:
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return value.held if isinstance(value, OnDevice) else value


def on_device(value: Any) -> Any:
    return OnDevice(value) if isinstance(value, torch.Tensor) else value


def with_arguments(func: Any, args: tuple, kwargs: dict, found: Any) -> Any:
    """The result, in which what was written to is the argument itself."""
    schema = func._schema
    written = {}
    for place, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            written[tuple(argument.alias_info.before_set)] = value
    if not written or not schema.returns:
        return found
    every = [found] if len(schema.returns) == 1 else list(found)
    for place, returned in enumerate(schema.returns):
        if returned.alias_info is not None and returned.alias_info.is_write:
            every[place] = written[tuple(returned.alias_info.before_set)]
    return every[0] if len(schema.returns) == 1 else tuple(every)


class StandIn(torch.Generator):
    """A generator that says it is on the GPU, and draws on the CPU."""

    place: torch.device

    def __new__(cls, device: str | torch.device = "cpu") -> "StandIn":
        made = super().__new__(cls)
        made.place = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:
        return self.place


class GeneratorsMatch(TorchFunctionMode):
    """Within the block a generator draws on its own device alone."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        made, generator = func(*args, **(kwargs or {})), (kwargs or {}).get("generator")
        if isinstance(generator, StandIn) and isinstance(made, torch.Tensor):
            expected = "cuda" if isinstance(made, OnDevice) else "cpu"
            if generator.device.type != expected:
                raise RuntimeError(f"Expected a '{expected}' device type for generator")
        return made


def loaded(load: Callable[..., Any]) -> Callable[..., Any]:
    """``torch.load`` that puts what it reads where ``map_location`` says."""

    def place(file: Any, map_location: Any = None, **kwargs: Any) -> Any:
        with torch.serialization.safe_globals([OnDevice]):
            found = load(file, map_location="cpu", **kwargs)
        if map_location is None:
            return found
        put = on_cpu if torch.device(map_location).type == "cpu" else on_device
        return tree_map(lambda value: put(on_cpu(value)) if isinstance(value, torch.Tensor) else value, found)

    return place


def differentiate_by_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every gradient be a constant: torch differentiates only on devices that it was built for."""
    begun: list[torch.optim.Optimizer] = []
    zero_grad = torch.optim.Optimizer.zero_grad

    def begin(optimiser: torch.optim.Optimizer, set_to_none: bool = True) -> None:
        zero_grad(optimiser, set_to_none)
        begun.append(optimiser)

    def backward(loss: torch.Tensor) -> None:
        assert loss.requires_grad
        for optimiser in begun:
            for parameter in (p for group in optimiser.param_groups for p in group["params"]):
                parameter.grad = torch.full_like(parameter, 1e-3)
        begun.clear()

    monkeypatch.setattr(torch.optim.Optimizer, "zero_grad", begin)
    monkeypatch.setattr(torch.Tensor, "backward", backward)


@contextlib.contextmanager
def simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedGPU]:
    """Within the block torch takes ``cuda`` for the simulated GPU."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    guards = (ctypes.c_void_p * DEVICE_TYPES).in_dll(library, GUARDS)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "no GPU, a simulated one")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device="cuda": torch.get_rng_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device="cuda": None)
    monkeypatch.setattr(torch, "Generator", StandIn)
    differentiate_by_constants(monkeypatch)
    monkeypatch.setattr(torch, "load", loaded(torch.load))
    lifts = torch._C._only_lift_cpu_tensors()
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    before, guards[CUDA] = guards[CUDA], guards[META]
    torch._C._set_only_lift_cpu_tensors(True)
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with SimulatedGPU() as gpu, GeneratorsMatch():
            yield gpu
    finally:
        guards[CUDA] = before
        torch._C._set_only_lift_cpu_tensors(lifts)
        torch.__future__.set_swap_module_params_on_conversion(swaps)


class RealGPU:
    """The same of a GPU that is there."""

    plays_as_the_cpu = False  # its random streams are others

    @contextlib.contextmanager
    def no_waiting(self) -> Iterator[None]:
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A GPU, simulated where there is none."""
    if torch.cuda.is_available():
        yield RealGPU()
        return
    try:
        with simulated(monkeypatch) as made:
            yield made
    except (OSError, ValueError) as error:
        pytest.skip(f"this torch cannot be shown a GPU that is not there: {error}")
