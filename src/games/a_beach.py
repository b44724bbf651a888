"""A-Beach: a ring of sites, a bar, and agents who mind the crowd more or less."""

import torch
from torch import Tensor

from ..functional.integers import paired
from ..functional.parts import in_parts
from .base import PopulationGame, Step, at_personal, look_up, require, require_between
from .constants import SymmetryConstants


class ABeach(PopulationGame):
    """Asymmetric beach bar, an asymmetric dynamic congestion game (Yardim & He 2025, Example 1).

    Agents on a ring of n_s sites move by a in {-1, 0, 1} (actions 0, 1, 2), and are then blown one
    site left or right with probability p_i / 2 each, p_i = noise + eps u_i. The reward is
    c1 (1 - dist(s, bar) / D) + c2 (1 - |a|) + c3 (1 + eps_beta u_i) (1 - nu(s)) with the ring
    distance and D = n_s // 2. rho0 is uniform. The game is monotone extendable:
    alpha = 2 eps, beta = c3 eps_beta, L_P = 0, L_R = c3 / 2, L_pop <= 1.

    Args:
        n_agents: N >= 2.
        horizon: H >= 1, environment steps.
        n_sites: n_s >= 3, the local states.
        bar: its site, or None for n_s // 2.
        c1, c2, c3: weights of nearness, stillness and solitude, >= 0, c1 + c2 + c3 (1 + eps_beta) <= 1.
        noise: p, mean probability of being blown.
        eps: spread of those probabilities, eps <= p <= 1 - eps.
        eps_beta: spread of the aversion to crowds, 0 .. 1.
        population, device, seed: see PopulationGame.

    Raises:
        UserError: a size, a weight or a spread out of range.
    """

    def __init__(
        self,
        *,
        n_agents: int,
        horizon: int,
        n_sites: int,
        bar: int | None,
        c1: float,
        c2: float,
        c3: float,
        noise: float,
        eps: float,
        eps_beta: float,
        population: str,
        device: str | torch.device = "cpu",
        seed: int = 0,
    ) -> None:
        require(n_sites >= 3, "n_sites", n_sites, "the ring needs at least 3 sites")
        bar = n_sites // 2 if bar is None else bar
        require(0 <= bar < n_sites, "bar", bar, f"must be a site, 0 to {n_sites - 1}")
        require_between("eps_beta", eps_beta, 0.0, 1.0)
        require_between("eps", eps, 0.0, 0.5)
        require_between("noise", noise, eps, 1 - eps)
        for key, weight in (("c1", c1), ("c2", c2), ("c3", c3)):
            require_between(key, weight, 0.0, 1.0)
        total = c1 + c2 + c3 * (1 + eps_beta)
        require(total <= 1 + 1e-9, "c3", c3, f"c1 + c2 + c3 (1 + eps_beta) = {total:g} must not exceed 1")
        self.map_shape = (1, n_sites)
        self.bar, self.c1, self.c2, self.c3 = bar, c1, c2, c3
        self.noise, self.eps, self.eps_beta = noise, eps, eps_beta
        constants = SymmetryConstants(
            alpha=2 * eps,
            beta=c3 * eps_beta,
            lipschitz_transition=0.0,
            lipschitz_reward=c3 / 2,
            lipschitz_population=1.0,
            monotone=True,
        )
        super().__init__(
            n_agents=n_agents,
            n_states=n_sites,
            n_actions=3,
            horizon=horizon,
            initial_law=torch.full((n_sites,), 1 / n_sites, dtype=torch.float64),
            constants=constants,
            population=population,
            device=device,
            seed=seed,
        )
        if self.type_sizes is not None:  # true of every A-Beach; said where each step asks for the tables
            self.fixed_transition = self.local_reward = True
        blown = noise + eps * self.personal  # p_i [N]
        self._right, self._not_left = blown / 2, 1 - blown / 2  # draws below: blown right; not blown left
        self._aversion = c3 * at_personal(eps_beta, self.personal, 0)  # [N]
        self._own = self._own_reward().float().reshape(-1)  # [S * A]

    def _own_reward(self) -> Tensor:
        """The part of the reward that does not depend on the others, [S, A] float64."""
        sites = torch.arange(self.n_states, dtype=torch.float64, device=self.device)
        gap = (sites - self.bar).abs()
        distance = torch.minimum(gap, self.n_states - gap)
        near = 1 - distance / (self.n_states // 2)
        still = (torch.arange(3, device=self.device) == 1).double()
        return self.c1 * near.unsqueeze(1) + self.c2 * still

    def sample_step(self, states: Tensor, actions: Tensor, others: Tensor) -> Step:
        return self._move(states, actions, others, self.uniforms(states.shape[0]))

    def advance(self, states: Tensor, actions: Tensor, counts: Tensor, draws: Tensor, h: int = 0) -> Step:
        return self._move(states, actions, self.distribution_met(counts.float()), draws)

    def _move(self, states: Tensor, actions: Tensor, others: Tensor, draws: Tensor) -> Step:
        """A step of agents that meet ``others`` [B, S, S], in the type of the states."""
        crowd = torch.diagonal(others, dim1=-2, dim2=-1)  # nu^-s(s), [B, S]
        alone = (1 - crowd).unsqueeze(-1).expand(-1, -1, 3).flatten(1)  # of every cell, [B, S A]
        personal = (value.expand_as(states) for value in (self._right, self._not_left, self._aversion))
        tables = (alone, self._own.expand(len(states), -1))
        return Step(*in_parts(self._moved, (states, actions, draws, *personal), tables))

    def _moved(
        self,
        states: Tensor,
        actions: Tensor,
        draws: Tensor,
        right: Tensor,
        not_left: Tensor,
        aversion: Tensor,
        alone: Tensor,
        own: Tensor,
    ) -> Step:
        """The step of some agents, [B, n] each, by what is looked up of their cells, [B, S A] each."""
        n_sites, kind = self.n_states, states.dtype
        ahead = states + actions + (draws < right) + (draws < not_left)  # s' + 2 before the ring closes
        ahead += (ahead < 2).to(kind) * n_sites
        ahead -= (ahead >= n_sites + 2).to(kind) * n_sites
        cell = paired(states, actions, n_sites, 3).long()
        return Step(ahead - 2, look_up(own, cell) + aversion * look_up(alone, cell))

    def transition_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        n_sites = self.n_states
        sites = torch.arange(n_sites, device=mu.device)
        moves = torch.arange(3, device=mu.device) - 1
        landing = (sites[:, None, None] + moves[:, None] + moves) % n_sites  # [S, A, drift]
        one_hot = torch.nn.functional.one_hot(landing, n_sites).to(mu.dtype)  # [S, A, drift, S]
        blown = (self.noise + self.eps * personal) * mu.new_ones(mu.shape[:-2])
        law = torch.stack([blown / 2, 1 - blown, blown / 2], -1).to(mu.dtype)  # [..., drift]
        return torch.einsum("...d,sadt->...sat", law, one_hot)

    def reward_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        solitude = (1 - mu.sum(-1)).unsqueeze(-1)  # [..., S, 1]
        aversion = self.c3 * at_personal(self.eps_beta, personal, 2)
        return (self._own_reward().to(mu.dtype) + aversion * solitude).to(mu.dtype)
