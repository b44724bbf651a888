"""A-RPS: rock-paper-scissors against the population, with unequal stakes."""

import torch
from torch import Tensor

from ..functional.parts import in_parts
from .base import PopulationGame, Step, at_personal, look_up, require_between
from .constants import SymmetryConstants

PAYOFF = ((0.0, -1.0, 2.0), (4.0, 0.0, -2.0), (-3.0, 6.0, 0.0))  # rows and columns: rock, paper, scissors
LARGEST_GAIN, LARGEST_LOSS = 6.0, 3.0


class ARPS(PopulationGame):
    """Asymmetric rock-paper-scissors (Yardim & He 2025, Sec. 6; N = 2000, H = 10 there).

    The next state is the action, s' = a, and R^i = [(1 + eps u_i) (A nu)_s + 3 (1 + eps)] / (9 (1 + eps))
    with the rows of the payoff matrix A rock (0, -1, 2), paper (4, 0, -2), scissors (-3, 6, 0).
    rho0 is uniform. alpha = 0, beta = 6 eps / (9 (1 + eps)), L_P = 0, L_R = .5 / (1 + eps), L_pop = 1.
    The game is not monotone.

    Args:
        n_agents: N >= 2.
        horizon: H >= 1, environment steps.
        eps: spread of the stakes, 0 .. 3 (beyond, a reward would leave [0, 1]).
        population, device, seed: see PopulationGame.

    Raises:
        UserError: a size or the spread out of range.
    """

    state_names = ("rock", "paper", "scissors")

    def __init__(
        self,
        *,
        n_agents: int,
        horizon: int,
        eps: float,
        population: str,
        device: str | torch.device = "cpu",
        seed: int = 0,
    ) -> None:
        require_between("eps", eps, 0.0, 3.0)
        self.eps = eps
        self.scale = (LARGEST_GAIN + LARGEST_LOSS) * (1 + eps)
        self.shift = LARGEST_LOSS * (1 + eps)
        constants = SymmetryConstants(
            alpha=0.0,
            beta=LARGEST_GAIN * eps / self.scale,
            lipschitz_transition=0.0,
            lipschitz_reward=0.5 / (1 + eps),
            lipschitz_population=1.0,
            monotone=False,
        )
        super().__init__(
            n_agents=n_agents,
            n_states=3,
            n_actions=3,
            horizon=horizon,
            initial_law=torch.full((3,), 1 / 3, dtype=torch.float64),
            constants=constants,
            population=population,
            device=device,
            seed=seed,
        )
        self.payoff = torch.tensor(PAYOFF, dtype=torch.float64, device=self.device)
        self._stake = at_personal(eps, self.personal, 0)  # [N]

    def draws(self, batch_size: int) -> Tensor:
        """Nothing is drawn: s' = a. [B, 0] float32."""
        return self.personal.new_empty(batch_size, 0)

    def advance(self, states: Tensor, actions: Tensor, counts: Tensor, draws: Tensor, h: int = 0) -> Step:
        step = self.sample_step(states, actions, self.distribution_met(counts.float()))
        return Step(step.next_states.to(states.dtype), step.rewards)

    def sample_step(self, states: Tensor, actions: Tensor, others: Tensor) -> Step:
        payoff = torch.einsum("bst,st->bs", others, self.payoff.to(others.dtype))  # (A nu^-s)_s, [B, S]
        agents = (states, self._stake.expand_as(states))
        return Step(actions, *in_parts(self._rewarded, agents, (payoff,)))

    def _rewarded(self, states: Tensor, stake: Tensor, payoff: Tensor) -> tuple[Tensor]:
        """Rewards of some agents, [B, n], by the payoff of their states, [B, S]."""
        return ((stake * look_up(payoff, states) + self.shift) / self.scale,)

    def transition_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        batch = torch.broadcast_shapes(mu.shape[:-2], personal.shape)
        return torch.eye(3, dtype=mu.dtype, device=mu.device).expand(*batch, 3, 3, 3)

    def reward_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        payoff = mu.sum(-1) @ self.payoff.to(mu.dtype).T  # (A nu)_s, [..., S]
        reward = (at_personal(self.eps, personal, 1) * payoff + self.shift) / self.scale
        return reward.to(mu.dtype).unsqueeze(-1).expand(*reward.shape, 3)
