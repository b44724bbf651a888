"""A batch of episodes: one tensor ``[B, T+1, ...]`` for each key of a scheme, on one device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .transforms import Transform

AVAIL_ACTIONS = "avail_actions"
FILLED = "filled"

Scheme = dict[str, dict[str, Any]]
Preprocess = Mapping[str, tuple[str, Sequence[Transform]]]


def complete_scheme(scheme: Scheme, preprocess: Preprocess | None = None) -> Scheme:
    """The scheme with its derived columns and the mask ``filled``: what controllers and learners are given.

    Args:
        scheme: for each key ``vshape`` (an int or a tuple), and optionally ``group`` and ``dtype``.
        preprocess: ``{key: (new key, transforms)}``; the derived column inherits the group of its source.
    """
    complete = dict(scheme)
    for key, (new_key, transforms) in (preprocess or {}).items():
        vshape, dtype = _vshape(scheme[key]), scheme[key].get("dtype", torch.float32)
        for transform in transforms:
            vshape, dtype = transform.infer_output_info(vshape, dtype)
        inherited = {k: v for k, v in scheme[key].items() if k == "group"}
        complete[new_key] = {"vshape": vshape, "dtype": dtype, **inherited}
    complete[FILLED] = {"vshape": (1,), "dtype": torch.long}
    return complete


@dataclass
class Columns:
    """The tensors behind a batch.

    Attributes:
        stored: key -> ``[B, T+1, ...]``.
        written: source key of a derived column -> ``[B, T+1]`` bool, true where something was written.
    """

    stored: dict[str, Tensor] = field(default_factory=dict)
    written: dict[str, Tensor] = field(default_factory=dict)

    def map(self, function: Callable[[Tensor], Tensor]) -> Columns:
        """The same columns with `function` applied to every tensor."""
        return Columns(
            {key: function(tensor) for key, tensor in self.stored.items()},
            {key: function(tensor) for key, tensor in self.written.items()},
        )


class EpisodeBatch:
    """``B`` episodes of at most ``T + 1`` steps, with EPyMARL's operations and less memory.

    Two columns cost nothing until they are needed. A derived column (``actions_onehot``) is computed when it
    is read; a step whose source was never written reads as zeros, and writing into what was read changes
    nothing. ``avail_actions`` is stored from the first write on that is not a stride-0 tensor of ones; until
    then it reads as ones, and so do steps never written after that.

    Args:
        scheme: see :func:`complete_scheme`.
        groups: members of each group, ``{"agents": N}``.
        batch_size: ``B``.
        max_seq_length: ``T + 1``.
        data: the columns of another batch, shared and not copied.
        preprocess: derived columns, see :func:`complete_scheme`.
        device: where the tensors live.
    """

    def __init__(
        self,
        scheme: Scheme,
        groups: dict[str, int],
        batch_size: int,
        max_seq_length: int,
        data: Columns | None = None,
        preprocess: Preprocess | None = None,
        device: str | torch.device = "cpu",
    ):
        self.scheme = complete_scheme(scheme, preprocess)
        self.groups = groups
        self.batch_size = batch_size
        self.max_seq_length = max_seq_length
        self.preprocess = dict(preprocess or {})
        self.device = device
        self._derived = {new: (key, transforms) for key, (new, transforms) in self.preprocess.items()}
        self._known_ones: tuple[Tensor, int] | None = None
        self.data = self._allocate() if data is None else data

    def update(
        self,
        data: Mapping[str, Any],
        bs: Any = slice(None),
        ts: Any = slice(None),
        mark_filled: bool = True,
    ) -> None:
        """Write values at episodes `bs` and steps `ts`.

        Args:
            data: key -> tensor, array or nested list, of the selected shape up to axes of length one.
            bs: an int, slice, list or index tensor of episodes.
            ts: an int or slice of steps.
            mark_filled: also mark the steps as filled.

        Raises:
            KeyError: a key is not in the scheme, or is derived.
            ValueError: a value does not fit.
        """
        for key in data:
            if key not in self.scheme or key in self._derived:
                raise KeyError(f"{key!r} cannot be written: the batch stores {sorted(self._storable())}")
        index = _index((bs, ts))
        for key, value in data.items():
            self._write(key, value, index)
        if mark_filled and data:
            self.data.stored[FILLED][index] = 1

    def max_t_filled(self) -> Tensor:
        """Steps of the longest episode, ``[1]`` long."""
        return self.data.stored[FILLED].sum(1).max(0).values

    def to(self, device: str | torch.device) -> None:
        """Move every column to `device`, in place."""
        self.data = self.data.map(lambda tensor: tensor.to(device))
        self.device = device

    def __getitem__(self, item: Any) -> Any:
        """A column for a key, a batch of columns for a tuple of keys, else a batch of episodes and steps."""
        if isinstance(item, str):
            return self._read(item)
        if isinstance(item, tuple) and item and all(isinstance(key, str) for key in item):
            return self._select(item)
        index = _index(item)
        return EpisodeBatch(
            self.scheme,
            self.groups,
            _length(index[0], self.batch_size),
            _length(index[1], self.max_seq_length),
            data=self.data.map(lambda tensor: tensor[index]),
            preprocess=self.preprocess,
            device=self.device,
        )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(batch_size={self.batch_size}, max_seq_length={self.max_seq_length}, "
            f"keys={list(self.scheme)}, groups={self.groups}, device={self.device})"
        )

    def _storable(self) -> list[str]:
        return [key for key in self.scheme if key not in self._derived]

    def _allocate(self) -> Columns:
        """Zeros for every column but those made on demand."""
        steps = (self.batch_size, self.max_seq_length)
        columns = Columns()
        for key in self._storable():
            if key != AVAIL_ACTIONS:
                columns.stored[key] = torch.zeros(
                    *steps, *self._entry_shape(key), dtype=self._dtype(key), device=self.device
                )
        for key in self.preprocess:
            columns.written[key] = torch.zeros(*steps, dtype=torch.bool, device=self.device)
        return columns

    def _entry_shape(self, key: str) -> tuple[int, ...]:
        spec = self.scheme[key]
        members = (self.groups[spec["group"]],) if spec.get("group") else ()
        return (*members, *_vshape(spec))

    def _dtype(self, key: str) -> torch.dtype:
        return self.scheme[key].get("dtype", torch.float32)

    def _read(self, key: str) -> Tensor:
        if key in self.data.stored:
            return self.data.stored[key]
        if key in self._derived:
            return self._derive(key)
        if key == AVAIL_ACTIONS and key in self.scheme:
            one = torch.ones((), dtype=self._dtype(key), device=self.device)
            return one.expand(self.batch_size, self.max_seq_length, *self._entry_shape(key))
        raise KeyError(f"{key!r} is not in the batch, which holds {list(self.scheme)}")

    def _derive(self, key: str) -> Tensor:
        source, transforms = self._derived[key]
        value = self.data.stored[source]
        for transform in transforms:
            value = transform.transform(value)
        written = self.data.written[source]
        return value * written.reshape(*written.shape, *(1,) * (value.dim() - 2)).to(value.dtype)

    def _select(self, keys: tuple[str, ...]) -> EpisodeBatch:
        scheme = {key: self.scheme[key] for key in keys if key in self.scheme}
        columns = Columns({key: self._read(key) for key in keys})
        return EpisodeBatch(
            scheme, self.groups, self.batch_size, self.max_seq_length, data=columns, device=self.device
        )

    def _write(self, key: str, value: Any, index: tuple[Any, Any]) -> None:
        if key == AVAIL_ACTIONS and key not in self.data.stored:
            ones = self._read(key)
            if isinstance(value, Tensor) and self._is_expanded_ones(value):
                _fit(key, value, ones[index].shape)
                return
            self.data.stored[key] = ones.clone(memory_format=torch.contiguous_format)
        if not isinstance(value, Tensor):
            value = torch.as_tensor(np.asarray(value))
        column = self.data.stored[key]
        target = column[index]
        value = _fit(key, value, target.shape)
        if isinstance(index[0], slice):  # then the target is a view, and copying into it converts
            target.copy_(value)
        else:
            column[index] = value.to(device=self.device, dtype=self._dtype(key))
        if key in self.data.written:
            self.data.written[key][index] = True

    def _is_expanded_ones(self, value: Tensor) -> bool:
        """Whether `value` is a single one seen through stride 0.

        Reading the one waits for the device, so the answer is remembered for as long as the tensor is the
        same memory and was not written to.
        """
        if any(stride for stride, size in zip(value.stride(), value.shape, strict=True) if size > 1):
            return False
        if self._known_ones is not None:
            known, version = self._known_ones
            if value.data_ptr() == known.data_ptr() and value._version == version:
                return True
        if value.numel() == 0 or value.flatten()[0].item() != 1:
            return False
        self._known_ones = (value, value._version)
        return True


def _vshape(spec: Mapping[str, Any]) -> tuple[int, ...]:
    vshape = spec["vshape"]
    return (vshape,) if isinstance(vshape, int) else tuple(vshape)


def _index(item: Any) -> tuple[Any, Any]:
    """An index of episodes and one of steps that both keep their axis."""
    episodes, steps = item if isinstance(item, tuple) else (item, slice(None))
    if not isinstance(steps, (int, np.integer, slice)):
        raise IndexError(f"steps must be contiguous, an int or a slice, and not {steps!r}")
    return _keep_axis(episodes), _keep_axis(steps)


def _keep_axis(item: Any) -> Any:
    if isinstance(item, (int, np.integer)):
        return slice(int(item), int(item) + 1 or None)
    return item


def _length(item: Any, size: int) -> int:
    if isinstance(item, slice):
        return len(range(*item.indices(size)))
    return len(item)


def _fit(key: str, value: Tensor, shape: torch.Size) -> Tensor:
    """`value` in `shape`, if the two differ by axes of length one alone."""
    if value.shape == shape:
        return value
    if [size for size in value.shape if size != 1] != [size for size in shape if size != 1]:
        raise ValueError(f"{key}: a value of shape {tuple(value.shape)} does not fit {tuple(shape)}")
    return value.reshape(shape)
