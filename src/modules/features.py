"""What a mean-field policy or critic sees: a local state, the population, the time; never an index."""

from itertools import pairwise

import torch
from torch import Tensor


def feature_size(n_states: int, horizon: int, *, population: bool) -> int:
    """S one-hot + H one-hot + 1, and S more with the population."""
    return n_states + horizon + 1 + (n_states if population else 0)


def cell_features(population: Tensor | None, steps: Tensor, *, n_states: int, horizon: int) -> Tensor:
    """Features of every local state at the given steps (Yardim & He 2025, Sec. 5: permutation-invariant).

    The embedding of the population is the mean over agents of their one-hot local states, which
    is the empirical distribution itself.

    Args:
        population: nu [..., K, S], or None to leave it out.
        steps: h of the K rows, [K] int64.
        n_states: S.
        horizon: H.

    Returns:
        [..., K, S, F], F = feature_size(...): one-hot state, one-hot h, h / H, then nu.
    """
    state = torch.eye(n_states, device=steps.device)  # [S, S]
    shared = step_features(population, steps, horizon=horizon).unsqueeze(-2)  # [..., K, 1, F - S]
    parts = [part.expand(*shared.shape[:-2], n_states, part.shape[-1]) for part in (state, shared)]
    return torch.cat(parts, -1)


def step_features(population: Tensor | None, steps: Tensor, *, horizon: int) -> Tensor:
    """What the features of all local states of a step have in common: all but the one-hot state.

    Arguments as for ``cell_features``; [..., K, F - S]: one-hot h, h / H, then nu.
    """
    one_hot = torch.nn.functional.one_hot(steps, horizon).float()
    time = torch.cat([one_hot, (steps / horizon).unsqueeze(-1)], -1)  # [K, H + 1]
    if population is None:
        return time
    return torch.cat([time.expand(*population.shape[:-1], horizon + 1), population], -1)


class CellNetwork(torch.nn.Sequential):
    """``mlp`` of the features of every local state, of which it is shown what they share.

    The first layer's product with a one-hot state is a column of its weights, and that with the rest is the
    same for all states of a step: neither ``cell_features`` nor its product is ever made.
    """

    def __init__(self, sizes: list[int]) -> None:
        super().__init__(*mlp(sizes))

    def forward(self, shared: Tensor) -> Tensor:
        """``step_features`` [..., K, F - S] -> [..., K, S, n_outputs]."""
        first, *others = self
        assert isinstance(first, torch.nn.Linear)
        own, common = first.weight.split([first.in_features - shared.shape[-1], shared.shape[-1]], 1)
        rows = torch.nn.functional.linear(shared, common, first.bias)  # [..., K, D]
        values = rows.unsqueeze(-2) + own.T.contiguous()  # [..., K, S, D]
        for layer in others:
            values = layer(values)
        return values


def mlp(sizes: list[int]) -> torch.nn.Sequential:
    """Linear layers with tanh between them; the last is zero, so that the first output is 0 everywhere."""
    layers: list[torch.nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.Tanh()]
    last = layers[-2]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    return torch.nn.Sequential(*layers[:-1])


def mean_action_features(cells: Tensor, mean_action: Tensor) -> Tensor:
    """Features of every local state against every mean action of its step.

    Args:
        cells: see ``cell_features``, [..., K, S, F].
        mean_action: R mean actions a step, [..., K, R, A].

    Returns:
        [..., K, S, R, F + A].
    """
    n_states, n_rows = cells.shape[-2], mean_action.shape[-2]
    cells = cells.unsqueeze(-2).expand(*cells.shape[:-1], n_rows, cells.shape[-1])
    mean_action = mean_action.unsqueeze(-3).expand(*mean_action.shape[:-2], n_states, *mean_action.shape[-2:])
    return torch.cat([cells, mean_action], -1)
