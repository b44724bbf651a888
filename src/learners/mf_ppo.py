"""Proximal policy optimisation of one symmetric policy (Yardim & He 2025, Sec. 6, A-Taxi).

The update is that of J. Schulman et al., "Proximal Policy Optimization Algorithms", 2017, with the advantages
of their "High-Dimensional Continuous Control Using Generalized Advantage Estimation", ICLR 2016.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.gae import Advantages, generalised_advantages
from ..functional.masks import counted_steps
from ..modules.critics import REGISTRY as CRITICS
from ..modules.critics import DeepSetValue
from ..modules.running_scale import RunningScale
from .epoch_learner import EpochLearner, require_range
from .ppo_update import Evaluation, PPOSettings, PPOUpdate, Samples

MOST_FEATURES = 2**21  # numbers shown to networks at once where no gradient is taken


class Played(NamedTuple):
    """What the networks made of a batch before they learn from it; J agents, T steps and what followed.

    Attributes:
        values: V in reward units, 0 where the agent was absent, [B, T + 1, J].
        log_probs: log pi of the actions taken, [B, T + 1, J].
        present: who was there, [B, T + 1, J] bool.
    """

    values: Tensor
    log_probs: Tensor
    present: Tensor


class MFPPOLearner(EpochLearner):
    """Generalised advantages along the agents' trajectories, then passes of clipped policy gradient.

    With ``identity=none`` policy and critic are one network each, of what an agent observes, and the
    trajectories of all agents are samples of that one policy: those of ``learn_agents`` of them, drawn anew
    each epoch, are learnt from (Yardim & He 2025, Alg. 1 follows one). Other identities are rungs of the
    ladder that it is compared to; with ``own_network`` each of N networks learns from its own agent.

    Rows are steps of episodes. A gradient step sees a set of rows with all agents learnt from; what networks
    are shown is made row by row when it is needed, so that [B, T, N, F] is never in memory.

    Args:
        mac: an observation controller.
        scheme: the host's batch scheme.
        logger: the host's logger.
        args: besides EpochLearner's, reads ``critic_type``, ``gamma``, ``gae_lambda``, ``lr``, ``epochs``,
            ``minibatches``, ``eps_clip``, ``entropy_coef``, ``grad_norm_clip``, ``learn_agents``,
            ``n_agents``.

    Raises:
        UserError: a setting that the algorithm cannot serve.
    """

    remedies = ("lr", "epochs")

    def __init__(self, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_settings(mac, args)
        settings = PPOSettings.of(args)
        critics = {name: kind for name, kind in CRITICS.items() if issubclass(kind, DeepSetValue)}
        if args.critic_type not in critics:
            raise UserError(f"critic_type={args.critic_type}: choose one of {', '.join(critics)}")
        self.critic = critics[args.critic_type](scheme, args)
        self.own = mac.identity == "own_network"
        self.scale = RunningScale()
        self.agent_optimiser = torch.optim.Adam(mac.parameters(), lr=args.lr, fused=True)
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), lr=args.lr, fused=True)
        self.update = PPOUpdate(self.agent_optimiser, self.critic_optimiser, settings, own=self.own)

    def modules(self) -> dict[str, Any]:
        return {
            "critic": self.critic,
            "critic_optimiser": self.critic_optimiser,
            "agent_optimiser": self.agent_optimiser,
            "scale": self.scale,
        }

    def cuda(self) -> None:
        super().cuda()
        self.critic.cuda()

    def learn(self, batch: Any) -> dict[str, float]:
        """One epoch; metrics as in docs/mf_ppo.md."""
        agents = self.drawn_agents(batch.device)
        played = self.play_back(batch, agents)
        counts = counted(batch, played.present)
        advantages = self.advantages(batch, agents, played, counts)
        self.scale.update(advantages.returns[counts])
        samples = Samples(
            actions=of_agents(batch["actions"][:, :-1, :, 0], agents).flatten(0, 1).long(),
            log_probs=played.log_probs[:, :-1].flatten(0, 1),
            advantages=advantages.advantages.flatten(0, 1),
            returns=self.scale.standardise(advantages.returns).flatten(0, 1),
            counts=counts.flatten(0, 1),
        )
        n_steps = counts.shape[1]

        def evaluate(rows: Tensor) -> Evaluation:
            return self.evaluate(batch, rows // n_steps, rows % n_steps, agents)

        return self.update.improve(samples, evaluate) | measures(advantages, counts)

    def drawn_agents(self, device: torch.device | str) -> Tensor | None:
        """Whom this epoch learns from, [J] int64 in increasing order; None for all."""
        n_agents, n_drawn = self.args.n_agents, self.args.learn_agents
        if n_drawn == 0 or n_drawn >= n_agents:
            return None
        return torch.randperm(n_agents, device=device)[:n_drawn].sort().values

    def evaluate(self, batch: Any, episodes: Tensor, steps: Tensor, agents: Tensor | None) -> Evaluation:
        """What the networks say of the agents learnt from, at R rows."""
        return self.judge(self.observed(batch, episodes, steps, agents), agents)

    def observed(self, batch: Any, episodes: Tensor, steps: Tensor, agents: Tensor | None) -> Any:
        """What networks are shown at R rows: of everybody if one of them looks at the population."""
        return self.mac.observed(batch, episodes, steps, None if self.args.embedding_dim else agents)

    def judge(self, observed: Any, agents: Tensor | None) -> Evaluation:
        """What the networks say of J agents."""
        if observed.agents is not None:
            values = self.critic(observed.features, None, observed.agents)
            return Evaluation(self.mac.log_policy(observed), values)
        values = self.critic(observed.features, observed.present, agents)
        return Evaluation(self.mac.log_policy(observed, agents), values)

    @torch.no_grad()
    def play_back(self, batch: Any, agents: Tensor | None) -> Played:
        """Values and log-probabilities of what was played, some rows at a time."""
        n_episodes, n_steps = batch["filled"].shape[:2]  # T + 1
        actions = of_agents(batch["actions"][..., 0], agents).flatten(0, 1).long()  # [B (T + 1), J]
        values, log_probs, present = [], [], []
        for rows in self.pieces(n_episodes * n_steps, agents, batch.device):
            observed = self.observed(batch, rows // n_steps, rows % n_steps, agents)
            judged = self.judge(observed, agents)
            log_probs.append(judged.log_policy.gather(-1, actions[rows].unsqueeze(-1)).squeeze(-1))
            values.append(judged.values)
            narrow = observed.agents is not None
            present.append(observed.present if narrow else of_agents(observed.present, agents))
        shape = (n_episodes, n_steps, -1)
        there = torch.cat(present).reshape(shape)
        restored = self.scale.restore(torch.cat(values)).reshape(shape)
        return Played(torch.where(there, restored, 0.0), torch.cat(log_probs).reshape(shape), there)

    def pieces(self, n_rows: int, agents: Tensor | None, device: torch.device | str) -> Iterator[Tensor]:
        """Rows 0 .. n_rows - 1, as many at a time as memory should hold the features of."""
        shown = self.args.n_agents if agents is None or self.args.embedding_dim else len(agents)
        size = max(1, MOST_FEATURES // (shown * self.mac.n_features))
        return iter(torch.arange(n_rows, device=device).split(size))

    def advantages(self, batch: Any, agents: Tensor | None, played: Played, counts: Tensor) -> Advantages:
        """Of the agents learnt from, from their own rewards, [B, T, J]."""
        return generalised_advantages(
            of_agents(batch["reward"][:, :-1], agents),
            played.values,
            counts,
            batch["terminated"][:, :-1],
            gamma=self.args.gamma,
            lam=self.args.gae_lambda,
        )


def of_agents(values: Tensor, agents: Tensor | None) -> Tensor:
    """The columns of J agents, [..., N] -> [..., J]; None for all."""
    return values if agents is None else values[..., agents]


def counted(batch: Any, present: Tensor) -> Tensor:
    """The steps that were taken, by agents that were there: present [B, T + 1, J] -> [B, T, J] bool."""
    steps = counted_steps(batch["filled"].squeeze(-1), batch["terminated"].squeeze(-1))
    return steps.unsqueeze(-1) & present[:, :-1]


def measures(advantages: Advantages, counts: Tensor) -> dict[str, float]:
    """How far the critic was from the returns, before it learnt from them."""
    error, returns = (field[counts].double() for field in advantages)
    if not len(error):
        return {"td_error_abs": 0.0, "advantage_std": 0.0, "explained_variance": 0.0}
    spread = returns.var(correction=0).item()
    left = error.var(correction=0).item()
    return {
        "td_error_abs": error.abs().mean().item(),
        "advantage_std": left**0.5,
        "explained_variance": 1 - left / spread if spread > 0 else 0.0,
    }


def check_settings(mac: Any, args: SimpleNamespace) -> None:
    """Refuse what the algorithm cannot serve.

    Raises:
        UserError: naming the key, its value and the remedy.
    """
    if not hasattr(mac, "observed"):
        raise UserError(f"mac={args.mac}: {args.name} reads what agents observe, set mac=observation_mac")
    require_range(args, positive=("lr", "gamma"), shares=("gamma", "gae_lambda"))
    if args.learn_agents < 0:
        raise UserError(f"learn_agents={args.learn_agents}: must not be negative; 0 is all agents")
    if mac.identity == "own_network" and 0 < args.learn_agents < args.n_agents:
        raise UserError(
            f"learn_agents={args.learn_agents}: with identity=own_network every network learns from its own "
            "agent, set learn_agents=0"
        )
