"""A-SIS: an epidemic among agents who catch, recover and suffer distancing a little differently."""

import torch
from torch import Tensor

from ..functional.parts import in_parts
from .base import PopulationGame, Step, at_personal, look_up, require_between
from .constants import SymmetryConstants

SUSCEPTIBLE, INFECTED = 0, 1
OUT, DISTANCING = 0, 1
INFECTION, RECOVERY, DISTANCING_COST = 0.81, 0.3, 0.5
LARGEST_EPS = 0.2346  # 1 / .81 - 1, rounded up in the fourth digit
LARGEST_EPS_RECOVERY = 2.3334  # 1 / .3 - 1, likewise


class ASIS(PopulationGame):
    """Asymmetric susceptible-infected-susceptible game (Yardim & He 2025, Sec. 6; N = 1000, H = 20 there).

    P^i(infected | susceptible, out) = .81 (1 + eps u_i) nu(infected), 0 when distancing; an
    infected agent recovers with probability .3 (1 + eps_recovery u_i). The cost of a step is 1 if
    infected, plus .5 (1 + eps_beta u_i) if distancing; the reward is (D - cost) / D with
    D = 1.5 + .5 eps_beta. rho0 = (.4 susceptible, .6 infected). Probabilities are clipped to [0, 1]:
    beyond eps_recovery = 1 an agent with u_i = -1 never recovers, which leaves alpha as it is, but
    the game of u = 0 is then no longer the mean over the agents' kernels.

    alpha = max(.6 eps_recovery, 1.62 eps), beta = .5 eps_beta / D, L_P = .81, L_R = 0, L_pop = 1.62.

    Args:
        n_agents: N >= 2.
        horizon: H >= 1, environment steps.
        eps: spread of the infection rates, 0 .. .2346 (beyond, a probability would exceed 1).
        eps_beta: spread of the distancing costs, 0 .. 1 (a cost must not be negative).
        eps_recovery: spread of the recovery rates, 0 .. 2.3334 (likewise).
        population, device, seed: see PopulationGame.

    Raises:
        UserError: a size or a spread out of range.
    """

    state_names = ("susceptible", "infected")

    def __init__(
        self,
        *,
        n_agents: int,
        horizon: int,
        eps: float,
        eps_beta: float,
        eps_recovery: float,
        population: str,
        device: str | torch.device = "cpu",
        seed: int = 0,
    ) -> None:
        require_between("eps", eps, 0.0, LARGEST_EPS)
        require_between("eps_beta", eps_beta, 0.0, 1.0)
        require_between("eps_recovery", eps_recovery, 0.0, LARGEST_EPS_RECOVERY)
        self.eps, self.eps_beta, self.eps_recovery = eps, eps_beta, eps_recovery
        self.scale = 1 + DISTANCING_COST * (1 + eps_beta)  # D, the largest cost
        constants = SymmetryConstants(
            alpha=max(2 * RECOVERY * eps_recovery, 2 * INFECTION * eps),
            beta=DISTANCING_COST * eps_beta / self.scale,
            lipschitz_transition=INFECTION,
            lipschitz_reward=0.0,
            lipschitz_population=2 * INFECTION,
            monotone=False,
        )
        super().__init__(
            n_agents=n_agents,
            n_states=2,
            n_actions=2,
            horizon=horizon,
            initial_law=torch.tensor([0.4, 0.6], dtype=torch.float64),
            constants=constants,
            population=population,
            device=device,
            seed=seed,
        )
        self._infection = rate(INFECTION, eps, self.personal)  # [N]
        self._stays_infected = 1 - rate(RECOVERY, eps_recovery, self.personal)  # [N]
        self._distancing = DISTANCING_COST * at_personal(eps_beta, self.personal, 0)

    def sample_step(self, states: Tensor, actions: Tensor, others: Tensor) -> Step:
        return self._move(states, actions, others, self.uniforms(states.shape[0]))

    def advance(self, states: Tensor, actions: Tensor, counts: Tensor, draws: Tensor, h: int = 0) -> Step:
        return self._move(states, actions, self.distribution_met(counts.float()), draws)

    def _move(self, states: Tensor, actions: Tensor, others: Tensor, draws: Tensor) -> Step:
        """A step of agents that meet ``others`` [B, S, S], in the type of the states."""
        personal = (self._infection, self._stays_infected, self._distancing)
        agents = (states, actions, draws, *(value.expand_as(states) for value in personal))
        return Step(*in_parts(self._moved, agents, (others[..., INFECTED],)))

    def _moved(
        self,
        states: Tensor,
        actions: Tensor,
        draws: Tensor,
        infection: Tensor,
        stays_infected: Tensor,
        distancing: Tensor,
        met: Tensor,
    ) -> Step:
        """The step of some agents, [B, n] each, who in each state meet so many infected, [B, S]."""
        exposure = look_up(met, states)  # nu(infected) met by each agent, [B, n]
        infected = states == INFECTED
        catches = infection * exposure * (actions == OUT)
        next_states = (draws < torch.where(infected, stays_infected, catches)).to(states.dtype)
        cost = infected + distancing * (actions == DISTANCING)
        return Step(next_states, 1 - cost / self.scale)

    def transition_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        infected = mu[..., INFECTED, :].sum(-1)  # [...]
        catches = rate(INFECTION, self.eps, personal) * infected
        recovers = rate(RECOVERY, self.eps_recovery, personal) * torch.ones_like(infected)
        becomes_infected = torch.stack(
            [
                torch.stack([catches, torch.zeros_like(catches)], -1),
                torch.stack([1 - recovers, 1 - recovers], -1),
            ],
            -2,
        )  # [..., S, A]
        return torch.stack([1 - becomes_infected, becomes_infected], -1)

    def reward_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        infected = torch.arange(2, dtype=mu.dtype, device=mu.device).unsqueeze(1)  # [S, 1]
        distancing = torch.arange(2, dtype=mu.dtype, device=mu.device)  # [A]
        cost = infected + DISTANCING_COST * at_personal(self.eps_beta, personal, 2) * distancing
        batch = torch.broadcast_shapes(mu.shape[:-2], personal.shape)
        return (1 - cost / self.scale).to(mu.dtype).expand(*batch, 2, 2)


def rate(mean: float, spread: float, personal: Tensor) -> Tensor:
    """mean (1 + spread u), clipped to [0, 1]; the shape of ``personal``."""
    return (mean * (1 + spread * personal)).clamp(0.0, 1.0)
