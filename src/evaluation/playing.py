"""A learnt policy played in a population game, without a host."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..controllers.mean_field_controller import InverseCDFSampler
from ..controllers.private_table_mac import PrivateSampler
from ..functional.checks import require_policy
from ..functional.distributions import count_values
from ..functional.mean_field import Policy
from ..games import PopulationGame

Choose = Callable[[int, Tensor], Tensor]
"""How all agents act: (h, states [B, N]) -> actions [B, N] int64, drawn from torch's global generator."""


class Played(NamedTuple):
    """One environment step of B episodes of N agents.

    Attributes:
        h: the step.
        states: [B, N] int64.
        actions: [B, N] int64.
        rewards: [B, N] float32.
        next_states: [B, N] int64.
    """

    h: int
    states: Tensor
    actions: Tensor
    rewards: Tensor
    next_states: Tensor


def shared(policy: Policy, game: PopulationGame, *, reads_population: bool) -> Choose:
    """All agents act by one policy (h, nu [S]) -> [S, A].

    Args:
        policy: what they act by.
        game: whose agents they are.
        reads_population: whether the rows depend on nu; then they are asked for episode by episode.
    """
    sampler = InverseCDFSampler()
    anybody = game.initial_law.float()

    def choose(h: int, states: Tensor) -> Tensor:
        if reads_population:
            populations = count_values(states, game.n_states) / game.n_agents  # [B, S]
            rows = torch.stack([policy(h, nu) for nu in populations])  # [B, S, A]
        else:
            rows = policy(h, anybody).unsqueeze(0)  # [1, S, A]
        return sampler.select_action(require_policy(rows, name=f"the policy at step {h}"), states)

    return choose


def private(tables: Tensor) -> Choose:
    """Every agent acts by its own table: pi^i [N, H, S, A]."""
    sampler = PrivateSampler()
    return lambda h, states: sampler.select_action(tables[:, h], states)


def play(game: PopulationGame, choose: Choose, *, batch_size: int) -> Iterator[Played]:
    """Play ``batch_size`` episodes at once, a step at a time."""
    states = game.reset(batch_size)
    for h in range(game.horizon):
        actions = choose(h, states)
        next_states, rewards = game.step_at(h, states, actions)
        yield Played(h, states, actions, rewards, next_states)
        states = next_states
