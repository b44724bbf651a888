"""Work on some agents at a time, so that what it takes beside its result is small, however many there are."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

AGENTS_AT_ONCE = 2**20  # whose temporaries take 8 MiB at most, and are got from memory that was just freed


def in_parts(
    function: Callable[..., tuple[Tensor, ...]], agents: Sequence[Tensor], episodes: Sequence[Tensor] = ()
) -> tuple[Tensor, ...]:
    """``function(*agents, *episodes)``, worked out for AGENTS_AT_ONCE agents at a time.

    A handful of elementwise operations makes temporaries that are many times what it leaves behind. Made for
    millions of agents at once each is fresh memory, which costs more to get than to fill, or leaves a hole in
    the heap that the next one does not fit into.

    On the CPU; elsewhere, and where the function is compiled into one loop, all agents are one part.

    Args:
        function: of ``agents`` and ``episodes`` to tensors [B, N], agent by agent: lookups and elementwise
            operations, which are equal, bit for bit, whoever is worked on together; sums are not.
        agents: one entry an agent, [B, N]; broadcast where all episodes have the same.
        episodes: one entry an episode, [B, ...].
    """
    shape, device = agents[0].shape, agents[0].device
    if shape.numel() <= AGENTS_AT_ONCE or device.type != "cpu" or torch.compiler.is_compiling():
        return tuple(function(*agents, *episodes))
    results: tuple[Tensor, ...] = ()
    for some, who in parts_of(*shape):
        found = function(*(value[some, who] for value in agents), *(value[some] for value in episodes))
        results = results or tuple(part.new_empty(shape) for part in found)
        for result, part in zip(results, found, strict=True):
            result[some, who] = part
    return results


def parts_of(batch_size: int, n_agents: int) -> Iterator[tuple[slice, slice]]:
    """Slices of B episodes and of N agents that together make up all: whole episodes where they are small."""
    deep, wide = max(1, AGENTS_AT_ONCE // max(1, n_agents)), min(n_agents, AGENTS_AT_ONCE)
    for first in range(0, batch_size, deep):
        for start in range(0, n_agents, wide):
            yield slice(first, first + deep), slice(start, start + wide)
