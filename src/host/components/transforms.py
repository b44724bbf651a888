"""Transforms: columns of a batch that are functions of another column."""

from typing import Protocol

import torch
from torch import Tensor


class Transform(Protocol):
    """What a batch needs to know of a derived column."""

    def transform(self, tensor: Tensor) -> Tensor:
        """The derived column, from the stored one."""

    def infer_output_info(
        self, vshape_in: tuple[int, ...], dtype_in: torch.dtype
    ) -> tuple[tuple[int, ...], torch.dtype]:
        """Shape of one entry and type of the derived column."""


class OneHot:
    """Indices ``[..., 1]`` to float indicators ``[..., out_dim]``."""

    def __init__(self, out_dim: int):
        self.out_dim = out_dim

    def transform(self, tensor: Tensor) -> Tensor:
        one_hot = torch.zeros(*tensor.shape[:-1], self.out_dim, device=tensor.device)
        return one_hot.scatter_(-1, tensor.long(), 1.0)

    def infer_output_info(
        self, vshape_in: tuple[int, ...], dtype_in: torch.dtype
    ) -> tuple[tuple[int, ...], torch.dtype]:
        return (self.out_dim,), torch.float32
