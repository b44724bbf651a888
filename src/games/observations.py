"""What agents and critics are shown of a population game."""

import torch
from torch import Tensor

from ..errors import UserError

VIEWS = ("index", "features")


def observation_size(view: str, n_states: int) -> int:
    """Numbers an agent observes: 1 for ``index``, 2 S + 1 for ``features``.

    Raises:
        UserError: the view is neither.
    """
    if view not in VIEWS:
        raise UserError(f"observation={view}: no such view, choose one of {', '.join(VIEWS)}")
    return 1 if view == "index" else 2 * n_states + 1


def observe(view: str, states: Tensor, population: Tensor, progress: float) -> Tensor:
    """Observations of all agents.

    ``index``: the local state as one number, for mean-field controllers. ``features``: one-hot
    local state, empirical distribution of all N agents' states, and h / H.

    Args:
        view: ``index`` or ``features``.
        states: [B, N] int64.
        population: nu [B, S].
        progress: h / H.

    Returns:
        [B, N, observation_size(view, S)] float32.
    """
    if view == "index":
        return states.unsqueeze(-1).float()
    batch_size, n_agents = states.shape
    n_states = population.shape[1]
    features = torch.zeros(batch_size, n_agents, 2 * n_states + 1, device=states.device)
    features.scatter_(2, states.unsqueeze(-1), 1.0)
    features[..., n_states : 2 * n_states] = population.unsqueeze(1)
    features[..., -1] = progress
    return features
