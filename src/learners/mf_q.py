"""Mean-field Q-learning (Yang et al., "Mean Field Multi-Agent Reinforcement Learning", ICML 2018)."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.cells import CellStatistics
from ..functional.distributions import entropy, kl_divergence
from ..functional.mean_action import boltzmann_policy, previous_action_counts
from ..modules.agents import MeanActionQAgent
from ..modules.cell_replay import CellReplay
from .cell_learner import LARGEST_TABLE, require_range
from .mean_action_learner import MeanActionLearner


class MFQLearner(MeanActionLearner):
    """Q_h(s, a, nu, a-bar) by Yang et al. 2018 (MF-Q), on replayed cells.

    y = r + gamma sum_a' pi(a' | s', a-bar) Q_(s', a', a-bar'), with pi the Boltzmann policy of the target
    network Q_ at the mean action of the step before, and a-bar' that of the next step as it was played.

    Args:
        args: besides MeanActionLearner's, reads ``beta``, ``replay_episodes``.
    """

    def __init__(self, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        if not isinstance(getattr(mac, "agent", None), MeanActionQAgent):
            raise UserError(f"mac={args.mac}: {args.name} needs mac=mean_action_mac")
        require_range(args, positive=("beta",), at_least_one=("replay_episodes",))
        require_room(args)
        self.make_critic(mac.agent.critic)
        self.replay = CellReplay(args.replay_episodes)

    def modules(self) -> dict[str, Any]:
        return {**super().modules(), "replay": self.replay}

    def policy_rows(self, statistics: CellStatistics, previous: Tensor) -> Tensor:
        return boltzmann_policy(self.target_critic(previous), self.args.beta)

    def update(self, statistics: CellStatistics) -> dict[str, float]:
        """Add a batch to the memory and learn from samples of it; metrics as in docs/mf_q.md."""
        self.replay.append(statistics)
        td_error = self.td_error(statistics)
        old = self.log_policy(statistics)
        loss = torch.zeros(())
        for _ in range(self.args.critic_steps):
            loss = self.loss(self.replay.sample(self.args.minibatch_episodes))
            self.descend(loss, self.critic_optimiser)
            self.update_target()
        new = self.log_policy(statistics)
        count = previous_action_counts(statistics)  # [B, T, S, A]
        weight = count / count.sum()
        return {
            "td_error_abs": td_error,
            "critic_loss": loss.item(),
            "q_taken_mean": self.q_taken_mean(statistics),
            "policy_entropy": (weight * entropy(new)).sum().item(),
            "policy_kl": (weight * kl_divergence(new, old)).sum().item(),
        }

    @torch.no_grad()
    def log_policy(self, statistics: CellStatistics) -> Tensor:
        """log pi_h(a | s, nu, a-bar) by the own action of the step before, [B, T, S, A, A]."""
        _, previous = self.row_features(statistics)
        return torch.log_softmax(self.args.beta * self.critic(previous), -1)


def require_room(args: SimpleNamespace) -> None:
    """Refuse a memory of counted episodes that no machine holds.

    Raises:
        UserError
    """
    entries = (
        args.replay_episodes * args.population_info["horizon"] * (args.state_shape * args.n_actions) ** 2
    )
    if entries > LARGEST_TABLE:
        raise UserError(
            f"replay_episodes={args.replay_episodes}: the counts kept fill {entries:.1e} entries "
            f"(at most {LARGEST_TABLE:.1e}), lower it"
        )
