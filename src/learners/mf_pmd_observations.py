"""Symmetrised policy mirror descent on observations that no table can hold (Yardim & He 2025, Alg. 2)."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.distributions import entropy, kl_divergence
from ..functional.masks import counted_steps
from ..functional.mirror_descent import mirror_descent_step
from ..functional.trajectory_targets import trajectory_targets
from ..modules.agents.choose import AUTO
from ..modules.critics import DeepSetQ
from ..modules.running_scale import RunningScale
from .epoch_learner import EpochLearner, require_range
from .fitting import descend
from .mean_field_learner import MirrorDescentSchedules, check_settings

OF_OBSERVATIONS = "deep_set_q"  # the critic, and what ``critic_type: auto`` stands for
MOST_FEATURES = 2**22  # numbers that agents are shown, made at a time where no gradient is needed


class Visits(NamedTuple):
    """What the agents that are learnt from did, and what it was worth; R rows are steps of episodes.

    Attributes:
        agents: who they are, [J] int64.
        episodes, steps: of the rows, [R] int64 each.
        actions: [R, J] int64.
        targets: of the critic, [R, J], reward units.
        weight: of each visit in the critic's loss, [R, J], 0 where the agent was absent.
    """

    agents: Tensor
    episodes: Tensor
    steps: Tensor
    actions: Tensor
    targets: Tensor
    weight: Tensor

    def rows(self, chosen: Tensor) -> "Visits":
        """Some of the rows, by number [r]."""
        return Visits(self.agents, *(field[chosen] for field in self[1:]))


class Goal(NamedTuple):
    """Where a mirror-descent step leads from some rows.

    Attributes:
        visits: the rows.
        old, new: log pi before the step and after it, [r, J, A].
    """

    visits: Visits
    old: Tensor
    new: Tensor


class MFPMDObservationsLearner(MirrorDescentSchedules, EpochLearner):
    """Fitted TD on what agents observe, then a mirror-descent step fitted by the policy network.

    The same step as ``MFPMDLearner``'s, from visits instead of cells. Critic: TD targets along each
    agent's own trajectory, regressed on Q(o_i, m, a), m the mean over all agents of a learnt feature of
    what they observe. Policy: the closed-form target log pi' = (1 - tau xi) log pi + xi Q, mixed with the
    uniform policy over the available actions, fitted by KL(pi | target) over visited observations. A
    gradient step takes ``minibatch_rows`` steps of episodes with all their agents, whose features are
    made then and there: memory never holds those of a batch.

    Args:
        mac: an ObservationMAC.
        scheme: the host's batch scheme.
        logger: the host's logger.
        args: besides EpochLearner's, reads ``gamma``, ``tau``, ``c_xi``, ``c_mix``, ``mix_offset``,
            ``td_agents``, ``td_target``, ``trace_lambda``, ``learn_agents``, ``count_exponent``, ``lr``,
            ``critic_steps``, ``policy_fit_steps``, ``minibatch_rows``, ``grad_norm_clip``.

    Raises:
        UserError: a setting that the algorithm cannot serve.
    """

    remedies = ("c_xi", "lr")

    def __init__(self, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        if not hasattr(mac, "observed"):
            raise UserError(f"mac={args.mac}: {args.name} on observations needs mac=mean_field_mac")
        check_settings(args)
        check_sampled(args)
        self.critic = DeepSetQ(scheme, args)
        self.scale = RunningScale()
        self.make_optimisers()

    def make_optimisers(self) -> None:
        """Adam for both networks; fused, for these are many small steps."""
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), lr=self.args.lr, fused=True)
        self.agent_optimiser = torch.optim.Adam(self.mac.agent.parameters(), lr=self.args.lr, fused=True)

    def modules(self) -> dict[str, Any]:
        return {
            "critic": self.critic,
            "scale": self.scale,
            "critic_optimiser": self.critic_optimiser,
            "agent_optimiser": self.agent_optimiser,
        }

    def cuda(self) -> None:
        super().cuda()
        self.critic.cuda()

    def learn(self, batch: Any) -> dict[str, float]:
        """One epoch; metrics as in docs/mf_pmd.md."""
        visits, td_error = self.evaluate(batch)
        critic_loss = self.fit_critic(batch, visits)
        goals = self.goals(batch, visits)
        policy_loss = self.fit_policy(batch, goals)
        return {
            "td_error_abs": td_error,
            "critic_loss": critic_loss,
            "policy_loss": policy_loss,
            **self.changes(batch, goals),
            "step_size": self.xi,
        }

    # Evaluation.

    @torch.no_grad()
    def evaluate(self, batch: Any) -> tuple[Visits, float]:
        """What was done with the critic's targets for it, and the mean |target - Q| before the fit."""
        played = counted_steps(batch["filled"].squeeze(-1), batch["terminated"].squeeze(-1))
        episodes, steps = played.nonzero(as_tuple=True)
        agents = self.drawn_agents(played.device)
        actions = batch["actions"][:, :-1, :, 0][..., agents].long()  # [B, T, J]
        seen = [torch.zeros_like(actions, dtype=torch.float32) for _ in range(4)]
        present = torch.zeros_like(actions, dtype=torch.bool)
        for rows in self.pieces(len(episodes)):
            at = episodes[rows], steps[rows]
            observed = self.mac.observed(batch, *at, self.followed(agents, critic=True))
            present[at] = of_agents(observed, observed.present, agents)
            for held, value in zip(seen, self.judged(observed, agents, actions[at]), strict=True):
                held[at] = value
        entropies, log_taken, taken, values = seen
        targets = trajectory_targets(
            batch["reward"][:, :-1][..., agents],
            entropies,
            taken,
            values,
            played=played,
            present=present,
            tau=self.args.tau,
            lam=self.args.trace_lambda,
        )
        counts = present & played.unsqueeze(-1)
        error = ((targets - taken).abs() * counts).sum() / counts.sum().clamp(min=1)
        self.scale.update(targets[counts])
        weight = torch.where(counts, ((self.args.count_exponent - 1) * log_taken).exp(), 0.0)
        at = episodes, steps
        return Visits(agents, episodes, steps, actions[at], targets[at], weight[at]), error.item()

    def judged(self, observed: Any, agents: Tensor, actions: Tensor) -> tuple[Tensor, ...]:
        """Ent(pi), log pi(a), Q(a) and what a state is worth to the step before, [r, J] each."""
        log_policy = self.log_policy(observed, agents)  # [r, J, A]
        q_values = self.q_values(observed, agents)
        taken = q_values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        log_taken = log_policy.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        expected = self.args.td_target == "expected_sarsa"
        values = (log_policy.exp() * q_values).sum(-1) if expected else taken
        return entropy(log_policy), log_taken, taken, values

    def followed(self, agents: Tensor, *, critic: bool) -> Tensor | None:
        """Whose observations a network needs: these agents', or None for everyone's, whom it embeds."""
        embeds = self.mac.population_dependent or (critic and self.args.embedding_dim > 0)
        return None if embeds else agents

    def log_policy(self, observed: Any, agents: Tensor) -> Tensor:
        """log pi of J agents, [r, J, A]."""
        return self.mac.log_policy(observed, agents if observed.agents is None else None)

    def q_values(self, observed: Any, agents: Tensor) -> Tensor:
        """The critic's Q of J agents, [r, J, A], reward units summed from h on."""
        return self.scale.restore(self.scaled_q(observed, agents))

    def scaled_q(self, observed: Any, agents: Tensor) -> Tensor:
        """The same in the critic's own unit, the deviation of all targets so far from their mean."""
        present = observed.present if observed.agents is None else None
        return self.critic(observed.features, present, agents)

    def drawn_agents(self, device: torch.device) -> Tensor:
        """Who is learnt from in this epoch, [J] int64 in order."""
        if self.args.td_agents == "one":
            return torch.zeros(1, dtype=torch.long, device=device)
        n_agents, n_drawn = self.args.n_agents, self.args.learn_agents
        if n_drawn == 0 or n_drawn >= n_agents:
            return torch.arange(n_agents, device=device)
        return torch.randperm(n_agents, device=device)[:n_drawn].sort().values

    def pieces(self, n_rows: int) -> Iterator[slice]:
        """Rows 0 .. n_rows - 1, as many at a time as memory should hold the features of."""
        size = max(1, MOST_FEATURES // (self.args.n_agents * self.mac.n_features))
        return (slice(start, start + size) for start in range(0, n_rows, size))

    def observed(self, batch: Any, rows: Visits, *, critic: bool) -> Any:
        """What was seen at some rows, of whom a network needs."""
        return self.mac.observed(batch, rows.episodes, rows.steps, self.followed(rows.agents, critic=critic))

    # The fits.

    def minibatches(self, visits: Visits) -> list[Visits]:
        """All rows in random order, ``minibatch_rows`` at a time."""
        order = torch.randperm(len(visits.episodes), device=visits.episodes.device)
        return [visits.rows(chosen) for chosen in order.split(self.args.minibatch_rows)]

    def fit_critic(self, batch: Any, visits: Visits) -> float:
        """Weighted regression on fixed targets, minibatch after minibatch, round and round.

        A visit weighs pi(a | o)^(count_exponent - 1): a rare action is fitted as if it were played more
        often, as cells of few visits are in the form with cells.

        Returns:
            The last loss, in the critic's unit squared.
        """
        minibatches = self.minibatches(visits)

        def loss(step: int) -> Tensor:
            rows = minibatches[step % len(minibatches)]
            observed = self.observed(batch, rows, critic=True)
            q_values = self.scaled_q(observed, rows.agents)
            taken = q_values.gather(-1, rows.actions.unsqueeze(-1)).squeeze(-1)
            return weighted_mean((taken - self.scale.standardise(rows.targets)).square(), rows.weight)

        return self.descend(loss, self.critic_optimiser, self.args.critic_steps)

    @torch.no_grad()
    def goals(self, batch: Any, visits: Visits) -> list[Goal]:
        """The mirror-descent step from the rows that the policy is going to be fitted on."""
        goals = []
        for rows in self.minibatches(visits)[: self.args.policy_fit_steps]:
            observed = self.observed(batch, rows, critic=True)
            available = of_agents(observed, observed.available, rows.agents)
            old = self.log_policy(observed, rows.agents)
            new = mirror_descent_step(
                old,
                self.q_values(observed, rows.agents),
                xi=self.xi,
                tau=self.args.tau,
                mixing=self.mixing,
                available=available,
            )
            goals.append(Goal(rows, old, new))
        return goals

    def fit_policy(self, batch: Any, goals: list[Goal]) -> float:
        """Minimise KL(pi | goal) over the visits; returns the last loss, in nats."""

        def loss(step: int) -> Tensor:
            goal = goals[step % len(goals)]
            rows = goal.visits
            observed = self.observed(batch, rows, critic=False)
            log_policy = self.log_policy(observed, rows.agents)
            divergence = divergence_where(
                of_agents(observed, observed.available, rows.agents), log_policy, goal.new
            )
            return weighted_mean(divergence, rows.weight > 0)

        return self.descend(loss, self.agent_optimiser, self.args.policy_fit_steps)

    @torch.no_grad()
    def changes(self, batch: Any, goals: list[Goal]) -> dict[str, float]:
        """Entropy of the new policy and its divergence from the old, over the visits it was fitted on."""
        entropies, divergences, present = [], [], []
        for rows, old, _ in goals:
            observed = self.observed(batch, rows, critic=False)
            log_policy = self.log_policy(observed, rows.agents)
            entropies.append(entropy(log_policy))
            divergences.append(
                divergence_where(of_agents(observed, observed.available, rows.agents), log_policy, old)
            )
            present.append(rows.weight > 0)
        counts = torch.cat(present)
        return {
            "policy_entropy": weighted_mean(torch.cat(entropies), counts).item(),
            "mirror_descent_kl": weighted_mean(torch.cat(divergences), counts).item(),
        }

    def descend(self, loss: Callable[[int], Tensor], optimiser: torch.optim.Optimizer, steps: int) -> float:
        """Gradient steps, the loss told the number of each; returns the loss before the last of them.

        The rate falls from ``lr`` in equal steps, so that a fit settles on its minibatches' mean.
        """
        return descend(
            loss,
            optimiser,
            steps=steps,
            grad_norm_clip=self.args.grad_norm_clip,
            falling_from=self.args.lr,
        )


def of_agents(observed: Any, values: Tensor, agents: Tensor) -> Tensor:
    """Entries of J agents, [r, J, ...], of what is observed of everyone or of them alone."""
    return values[:, agents] if observed.agents is None else values


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """sum w x / sum w of values and weights of one shape; 0 where all weights are."""
    weight = weight.to(values.dtype)
    total = weight.sum()
    return (weight * values).sum() / torch.where(total > 0, total, 1.0)


def divergence_where(available: Tensor, log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p | q) over the available actions, [..., A] -> [...], with a finite gradient where log p is -inf."""
    return kl_divergence(log_p.masked_fill(~available, 0.0), log_q.masked_fill(~available, 0.0))


def check_sampled(args: SimpleNamespace) -> None:
    """Refuse settings that learning from visits cannot serve.

    Raises:
        UserError: naming the key, its value and the remedy.
    """
    require_range(
        args,
        positive=("lr", "grad_norm_clip"),
        at_least_one=("critic_steps", "policy_fit_steps", "minibatch_rows"),
        shares=("trace_lambda", "count_exponent"),
    )
    if args.critic_type not in (AUTO, OF_OBSERVATIONS):
        raise UserError(f"critic_type={args.critic_type}: on observations choose {AUTO} or {OF_OBSERVATIONS}")
    if args.optimism:
        raise UserError(
            f"optimism={args.optimism}: on observations Q has no cells to be compared from epoch to epoch, "
            "set optimism=0.0"
        )
    if args.learn_agents < 0:
        raise UserError(f"learn_agents={args.learn_agents}: must not be negative; 0 is all agents")
