"""What tests of learners share."""

from collections.abc import Callable

import pytest
import torch


@pytest.fixture(scope="session")
def shake() -> Callable[[torch.nn.Module, int], None]:
    """Give a network random parameters, so that its outputs are of order 1."""

    def change(module: torch.nn.Module, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(0.4 * torch.randn(parameter.shape, generator=random))

    return change
