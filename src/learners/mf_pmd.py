"""Symmetrised policy mirror descent with networks (Yardim & He 2025, Alg. 2, Sec. 5)."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.cells import CellStatistics
from ..functional.distributions import entropy, kl_divergence
from ..functional.fit_losses import DivergenceFromGoal, WeightedSquares
from ..functional.mirror_descent import mirror_descent_step, square_spread
from ..functional.td_targets import TDSweep, sweep_backwards
from ..modules.agents import MeanFieldNetworkAgent
from ..modules.agents.choose import AUTO, OF_LOCAL_STATES, OF_OBSERVATIONS, chosen_agent
from ..modules.critics import REGISTRY as CRITICS
from ..modules.critics.mean_field_critic import MeanFieldCritic, RewardUnit
from .cell_fit import Minibatch, fit_cells
from .epoch_learner import EpochLearner
from .mean_field_learner import MeanFieldLearner
from .mf_pmd_observations import MFPMDObservationsLearner
from .scale_free import over_episodes, row_origins

OF_CELLS = "mean_field_critic"  # the critic that ``auto`` stands for


class MFPMD(EpochLearner):
    """mf_pmd under one name: calling it makes the learner of the policy that ``agent`` stands for.

    MFPMDLearner counts numbered local states, MFPMDObservationsLearner follows what agents observe;
    ``agent=auto`` leaves it to the game (``chosen_agent``).
    """

    def __new__(cls, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> Any:
        on_observations = chosen_agent(args) == OF_OBSERVATIONS
        if on_observations and args.step_rule == "scale_free":
            raise UserError(
                f"step_rule=scale_free: needs agent={OF_LOCAL_STATES}, agent={OF_OBSERVATIONS} has sqrt alone"
            )
        kind = MFPMDObservationsLearner if on_observations else MFPMDLearner
        return kind(mac, scheme, logger, args)


class Rows(NamedTuple):
    """Attributes:
    q_values: [R, T, S, A], R = B where the policy reads the population, 1 where it does not.
    weight: share of the rows (h, s), [R, T, S], sums to 1.
    """

    q_values: Tensor
    weight: Tensor


class MFPMDLearner(MeanFieldLearner):
    """Fitted TD on empirical distributions, then a mirror-descent step fitted by the policy network.

    Critic: the TD targets of all cells (episode, h, s, a), swept backwards with the critic's own
    values where nobody was, regressed by weighted squared error. Policy: the closed-form
    target log pi' = (1 - tau xi) log pi + xi Q, mixed with the uniform policy, fitted by KL(pi |
    target) over the visited rows. Both networks run on S rows a step, whatever N is.

    Under ``step_rule: scale_free`` the critic is fitted to (target - m_h(s)) / u, m_h(s) the mean of the
    targets over the visits of a row and u that of the spreads of a step, the root of sum G_k^2 / (n H) over n
    epochs: what tells actions apart is of order 1 there, whatever the rewards' unit.

    Args:
        args: besides MeanFieldLearner's, reads ``critic_type``, ``lr``, ``adam_beta2``, ``critic_steps``,
            ``policy_steps``, ``td_lambda``, ``count_exponent``, ``minibatch_episodes``,
            ``grad_norm_clip``.
    """

    def __init__(self, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        if mac.agent.tabular:
            raise UserError(f"agent={args.agent}: {args.name} trains networks, use agent=mean_field_network")
        if type(mac.agent).forward is not MeanFieldNetworkAgent.forward:
            raise UserError(
                f"agent={args.agent}: {type(mac.agent).__name__} has a forward of its own, and {args.name} "
                "fits its layers alone; change the layers, or take agent=deep_set_network"
            )
        for key in ("td_lambda", "count_exponent"):
            if not 0 <= getattr(args, key) <= 1:
                raise UserError(f"{key}={getattr(args, key)}: must lie between 0 and 1")
        if not 0 <= args.adam_beta2 < 1:
            raise UserError(f"adam_beta2={args.adam_beta2}: must lie between 0 and 1, below 1")
        for key in ("lr", "grad_norm_clip"):
            if not getattr(args, key) > 0:
                raise UserError(f"{key}={getattr(args, key)}: must be positive")
        for key in ("critic_steps", "policy_steps", "minibatch_episodes"):
            if getattr(args, key) < 1:
                raise UserError(f"{key}={getattr(args, key)}: must be at least 1")
        critics = {name: kind for name, kind in CRITICS.items() if issubclass(kind, MeanFieldCritic)}
        name = OF_CELLS if args.critic_type == AUTO else args.critic_type
        if name not in critics:
            raise UserError(f"critic_type={name}: choose one of {', '.join(critics)}, or {AUTO}")
        self.critic = critics[name](scheme, args)
        if self.spreads is not None:
            self.critic.unit = RewardUnit(self.critic.horizon, self.n_states)
        self.make_optimisers()

    def make_optimisers(self) -> None:
        """Adam for both networks: ``fit_cells`` takes its steps, checkpoints hold its state."""
        settings = self.adam_settings() | {"fused": True}
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), **settings)
        self.agent_optimiser = torch.optim.Adam(self.mac.agent.parameters(), **settings)

    def adam_settings(self) -> dict[str, Any]:
        """Rate and betas.

        Adam's mean of squared gradients spans 1 / (1 - beta_2) steps, at torch's .999 eight epochs of the
        critic's: too long where targets move every epoch, and now and then its steps undo a fit.
        """
        return {"lr": self.args.lr, "betas": (0.9, self.args.adam_beta2)}

    def modules(self) -> dict[str, Any]:
        return super().modules() | {
            "critic": self.critic,
            "critic_optimiser": self.critic_optimiser,
            "agent_optimiser": self.agent_optimiser,
        }

    def load_models(self, path: str) -> None:
        super().load_models(path)
        for optimiser in (self.critic_optimiser, self.agent_optimiser):
            optimiser.param_groups[0] |= self.adam_settings()  # not those of the run that is resumed

    def cuda(self) -> None:
        super().cuda()
        self.critic.cuda()

    def update(self, statistics: CellStatistics) -> dict[str, float]:
        """One epoch; metrics as in docs/mf_pmd.md."""
        with torch.no_grad():
            old = self.mac.log_policy(statistics.population)
            features = self.critic.features(statistics.population)
            if self.spreads is not None and self.epoch == 0:
                self.begin(statistics, old)
        targets = self.td_targets(statistics, old, features)
        td_error = self.td_error(statistics, targets, features)
        if self.spreads is not None:
            self.measure(statistics, targets)
        critic_loss = self.fit_critic(statistics, targets, features)
        with torch.no_grad():
            rows = self.policy_rows(statistics, self.critic(features))
            ahead = rows.q_values
            if self.optimism is not None:
                held = statistics.state_count.sum(0) > 0  # [T, S]; a critic knows all actions of a row
                ahead = self.optimism.ahead(ahead[0], held.unsqueeze(-1)).unsqueeze(0)
            goal = mirror_descent_step(old, ahead, xi=self.xi, tau=self.tau, mixing=self.mixing)
        policy_loss = self.fit_policy(statistics, goal, rows.weight)
        with torch.no_grad():
            new = self.mac.log_policy(statistics.population)
        return {
            "td_error_abs": td_error,
            "critic_loss": critic_loss,
            "policy_loss": policy_loss,
            "policy_entropy": (rows.weight * entropy(new)).sum().item(),
            "mirror_descent_kl": (rows.weight * kl_divergence(new, old)).sum().item(),
            "step_size": self.xi,
        }

    @torch.no_grad()
    def begin(self, statistics: CellStatistics, log_policy: Tensor) -> None:
        """Take G_0 and the critic's unit and origins from the first batch, before anything is evaluated.

        From targets that owe nothing to the critic, which does not know yet where rewards start from.
        """
        assert self.spreads is not None
        expected = self.args.td_target == "expected_sarsa"
        sweep = sweep_backwards(statistics, log_policy, tau=0.0, expected=expected, fill_rows=True)
        table, visits = over_episodes(sweep, statistics)
        square = square_spread(table, visits)
        self.spreads.begin(square)
        self.spreads.add(square)
        self.critic.measure_in(self.spreads.of_a_step(1, self.critic.horizon), row_origins(table, visits))

    @torch.no_grad()
    def measure(self, statistics: CellStatistics, targets: TDSweep) -> None:
        """Add this epoch's spread, and measure the critic in that of a step and from the rows' means."""
        assert self.spreads is not None
        table, visits = over_episodes(targets, statistics)
        if self.epoch > 0:
            self.spreads.add(square_spread(table, visits))
        unit = self.spreads.of_a_step(self.epoch + 1, self.critic.horizon)
        self.critic.measure_in(unit, row_origins(table, visits))

    @torch.no_grad()
    def td_targets(self, statistics: CellStatistics, log_policy: Tensor, features: Tensor) -> TDSweep:
        """Targets of Q for every cell of every episode, [B, T, S, A]."""
        return sweep_backwards(
            statistics,
            log_policy,
            tau=self.tau,
            expected=self.args.td_target == "expected_sarsa",
            fallback=self.critic(features),
            lam=self.args.td_lambda,
        )

    @torch.no_grad()
    def td_error(self, statistics: CellStatistics, targets: TDSweep, features: Tensor) -> float:
        """Mean over visits of |target - Q| before the fit."""
        error = (targets.q_values - self.critic(features)).abs()
        return ((statistics.visits * error).sum() / statistics.visits.sum()).item()

    def fit_critic(self, statistics: CellStatistics, targets: TDSweep, features: Tensor) -> float:
        """Weighted regression on fixed targets; returns the last loss, in the square of the critic's unit.

        A cell weighs count^count_exponent; each step takes the next ``minibatch_episodes`` episodes,
        round and round: with many agents, episodes of one epoch are nearly alike.
        """
        n_episodes = statistics.visits.shape[0]
        size = min(self.args.minibatch_episodes, n_episodes)
        weight = torch.where(targets.visited, statistics.visits**self.args.count_exponent, 0.0)
        weight = weight / weight.sum((1, 2, 3), keepdim=True) / size
        scaled = self.critic.outputs(targets.q_values)
        order = torch.arange(size, device=features.device)
        rounds = [(order + k * size) % n_episodes for k in range(n_episodes)]
        minibatches = [
            Minibatch(
                features[chosen].flatten(0, 1),
                WeightedSquares(scaled[chosen].flatten(0, 1), weight[chosen].flatten(0, 1)),
            )
            for chosen in rounds
        ]
        return self.fit(self.critic.layers, self.critic_optimiser, minibatches, self.args.critic_steps)

    def policy_rows(self, statistics: CellStatistics, q_values: Tensor) -> Rows:
        """Q as the policy can use it: per population, or averaged over those a row was visited in."""
        count = statistics.state_count  # [B, T, S]
        if not self.mac.population_dependent:
            share = count / count.sum(0, keepdim=True).clamp(min=1)
            q_values = (share.unsqueeze(-1) * q_values).sum(0, keepdim=True)
            count = count.sum(0, keepdim=True)
        return Rows(q_values, count / count.sum())

    def fit_policy(self, statistics: CellStatistics, goal: Tensor, weight: Tensor) -> float:
        """Minimise KL(pi | goal) over the visited rows; returns the last loss, in nats."""
        visited = (weight > 0).to(goal.dtype)
        weight = visited / visited.sum()
        agent: MeanFieldNetworkAgent = self.mac.agent
        steps = torch.arange(goal.shape[1], device=goal.device)
        shared = agent.shared_features(statistics.population, steps, horizon=self.mac.horizon)
        loss = DivergenceFromGoal(goal.flatten(0, 1), weight.flatten(0, 1))
        whole = Minibatch(shared.flatten(0, -2), loss)
        return self.fit(agent.layers, self.agent_optimiser, [whole], self.args.policy_steps)

    def fit(
        self,
        network: torch.nn.Sequential,
        optimiser: torch.optim.Adam,
        minibatches: list[Minibatch],
        steps: int,
    ) -> float:
        """Gradient steps at a rate that falls to 0; returns the loss before the last of them."""
        settings = {"n_states": self.n_states, "grad_norm_clip": self.args.grad_norm_clip}
        return fit_cells(network, optimiser, minibatches, steps=steps, **settings)
