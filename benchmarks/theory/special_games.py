"""Games made for the experiments: one where the rates are attained, one where nothing cancels."""

import torch
from torch import Tensor

from mf_pmd.games import PopulationGame, SymmetryConstants, TableGame


class CapacityGame(TableGame):
    """s' = a; R(0, mu) = 1 - cost (nu(0) - 1/2)^+, R(1, mu) = 1; rho0 uniform; all agents alike.

    A symmetric congestion game, Lipschitz and monotone, whose reward has its kink where the uniform policy
    puts the population: there the mean over a finite sample of the others is off by O(1/sqrt N) and no less.
    In the mean field both sites pay 1 at nu(0) = 1/2, so that the uniform policy is an equilibrium. Among N
    players site 0 pays 1 - cost E(K/n - 1/2)^+, K the others there, binomial(n, 1/2), n = N - 1.
    alpha = beta = L_P = 0, L_R = cost / 2, L_pop = 1.

    Args:
        n_agents: N >= 2.
        horizon: H >= 1.
        cost: 0 .. 2.
        seed: of the game's own stream.
    """

    def __init__(self, *, n_agents: int, horizon: int, cost: float = 2.0, seed: int = 0) -> None:
        self.cost = cost
        super().__init__(
            n_agents=n_agents,
            n_states=2,
            n_actions=2,
            horizon=horizon,
            initial_law=torch.tensor([0.5, 0.5], dtype=torch.float64),
            constants=SymmetryConstants(0.0, 0.0, 0.0, cost / 2, 1.0, True),
            personal=torch.zeros(n_agents),
            seed=seed,
        )

    def transition_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        batch = torch.broadcast_shapes(mu.shape[:-2], personal.shape)
        return torch.eye(2, dtype=mu.dtype, device=mu.device).expand(*batch, 2, 2, 2)

    def reward_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        crowd = (mu[..., 0, :].sum(-1) - 0.5).clamp(min=0.0)  # [...]
        full = 1 - self.cost * crowd
        reward = torch.stack([full, torch.ones_like(full)], -1)  # [..., S]
        return reward.unsqueeze(-1).expand(*reward.shape, 2)


class OneSided(TableGame):
    """The game of another's tables with other personal parameters, such as u = +1 for all.

    Measured against u = 0, which is then not the mean over the agents, its alpha and beta are those of the
    other game, and nothing of first order cancels between agents.

    Args:
        game: with tables; its sizes, rho0 and constants are taken.
        personal: u [N].
        seed: of the game's own stream.
    """

    def __init__(self, game: PopulationGame, personal: Tensor, *, seed: int) -> None:
        self.game = game
        super().__init__(
            n_agents=game.n_agents,
            n_states=game.n_states,
            n_actions=game.n_actions,
            horizon=game.horizon,
            initial_law=game.initial_law,
            constants=game.constants,
            population=game.population,
            personal=personal,
            seed=seed,
        )

    def transition_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        return self.game.transition_table(mu, personal)

    def reward_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        return self.game.reward_table(mu, personal)
