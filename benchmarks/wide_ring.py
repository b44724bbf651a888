"""A ring of any number of sites and of steps to choose among, to time what they cost."""

from __future__ import annotations

import torch
from torch import Tensor

from mf_pmd import games


class WideRing(games.PopulationGame):
    """Action a moves an agent by a - A // 2 sites, and chance by one more with probability 1/4 (1 + u / 2).

    R = 1 - nu(s), the share of the others on its site. With ``declared=False`` the game does not say what its
    kernels leave unread, so that whoever needs its tables makes them at what agents of every cell meet.

    Args:
        n_sites: S >= 2.
        n_moves: A >= 2.
        declared: whether it says so.
        n_agents, horizon, population, device, seed: see ``PopulationGame``.
    """

    def __init__(
        self,
        *,
        n_agents: int,
        horizon: int,
        n_sites: int,
        n_moves: int,
        declared: bool,
        population: str,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        super().__init__(
            n_agents=n_agents,
            n_states=n_sites,
            n_actions=n_moves,
            horizon=horizon,
            initial_law=torch.full((n_sites,), 1 / n_sites, dtype=torch.float64),
            population=population,
            device=device,
            seed=seed,
        )
        self.fixed_transition = self.local_reward = declared
        self._blown = 0.25 * (1 + self.personal / 2)

    def sample_step(self, states: Tensor, actions: Tensor, others: Tensor) -> games.Step:
        crowd = torch.diagonal(others, dim1=-2, dim2=-1)  # nu^-s(s), [B, S]
        blown = self.uniforms(len(states)) < self._blown
        next_states = (states + actions - self.n_actions // 2 + blown.long()) % self.n_states
        return games.Step(next_states, 1 - crowd.gather(1, states))

    def transition_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        sites = torch.arange(self.n_states, device=mu.device).unsqueeze(1)
        moves = torch.arange(self.n_actions, device=mu.device) - self.n_actions // 2
        here = torch.nn.functional.one_hot((sites + moves) % self.n_states, self.n_states)
        blown = (0.25 * (1 + personal / 2) * mu.new_ones(mu.shape[:-2]))[..., None, None, None]
        return (here + blown * (here.roll(1, -1) - here)).to(mu.dtype)

    def reward_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        solitude = 1 - mu.sum(-1, keepdim=True)  # [..., S, 1]
        return (solitude * torch.ones_like(mu)) * torch.ones_like(personal)[..., None, None]
