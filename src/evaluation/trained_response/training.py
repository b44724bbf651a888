"""Deviators trained by PPO among the frozen rest: one agent's best response, as far as learning finds it."""

import copy
import math
import time
from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import DivergenceError
from ...functional.gae import generalised_advantages
from ...games import Game
from ...learners.ppo_update import Evaluation, PPOUpdate, Samples
from ...modules.running_scale import RunningScale
from ...runners.seeding import isolated_randomness
from .candidates import Candidate, best_candidate
from .deviators import Deviators
from .episodes import Frozen, Steps, play_deviating
from .plan import NETWORKS, TRAINING, Plan, iterates_kept, plan_of
from .settings import TrainingSettings
from .types import Types, draw_distinct


class Curve(NamedTuple):
    """What deviators gained while they learnt, batch by batch, M batches.

    Attributes:
        steps: that deviators had taken when the batch was over, all together, [M].
        returns: mean return of the deviators, the types weighted by their shares, [M] reward units.
        gain: that less the mean return of the others of their type in the same episodes, likewise.
        by_type: the same of each type, [M, G]; NaN where no one of it deviated.
        entropy: of the deviators' actions, [M] nats.
    """

    steps: list[int]
    returns: list[float]
    gain: list[float]
    by_type: list[list[float]]
    entropy: list[float]


class Response(NamedTuple):
    """What training found.

    Attributes:
        deviators: the policy.
        greedy: whether they take the likeliest action, as validation preferred.
        after: steps of deviators that had made it; less than all where validation preferred an earlier one.
        curve: how they came there.
        plan: who deviated, and how often.
        seconds: that it took.
    """

    deviators: Deviators
    greedy: bool
    after: int
    curve: Curve
    plan: Plan
    seconds: float


def train_response(
    game: Game, frozen: Frozen, types: Types, settings: TrainingSettings, *, seed: int
) -> Response:
    """Train the best response of one agent to all others, who play on as they do.

    k agents, drawn anew in every episode, learn together from their own trajectories, one policy that is told
    the personal parameter, by PPO with generalised advantages, undiscounted. Where k > 1 they meet k - 1
    other deviators, which moves the population by at most k / N; nothing is measured in these episodes.

    Args:
        game: any.
        frozen: what the others play, and where deviators start.
        types: of the agents, for the learning curve.
        settings: see config/trained_response.yaml.
        seed: of all streams.

    Raises:
        DivergenceError: the deviators' policy or their critic became NaN or infinite.
    """
    began = time.perf_counter()
    plan = plan_of(game, settings)
    with isolated_randomness(game, (seed, NETWORKS)):
        learner = _Learner(game, settings)
    curve, candidates = Curve([], [], [], [], []), []
    kept_at = iterates_kept(plan.n_batches, settings.candidates)
    for m in range(plan.n_batches):
        with isolated_randomness(game, (seed, TRAINING, m)):
            who = draw_distinct(plan.batch_size, game.n_agents, plan.k, device=game.device)
            steps, returns = play_deviating(game, frozen, learner.deviators, who, keep=True)
            assert steps is not None
            entropy = learner.learn(steps)
        add_to_curve(curve, types, returns, who, n_steps=steps.rewards.numel(), entropy=entropy)
        if m in kept_at:
            candidates.append(Candidate(copy.deepcopy(learner.deviators), curve.steps[-1]))
    best = best_candidate(game, frozen, candidates, plan, n_steps=settings.validation, seed=seed)
    seconds = time.perf_counter() - began
    return Response(best.deviators, best.greedy, best.after, curve, plan, seconds)


class _Learner:
    """The deviators, their critic's unit and the update of both."""

    def __init__(self, game: Game, settings: TrainingSettings) -> None:
        self.deviators = Deviators(
            game, hidden_dim=settings.hidden_dim, sees_population=settings.sees_population
        ).to(game.device)
        self.settings = settings
        self.scale = RunningScale()
        policy, critic = (
            torch.optim.Adam(network.parameters(), lr=settings.lr, fused=True)
            for network in (self.deviators.policy, self.deviators.critic)
        )
        self.update = PPOUpdate(policy, critic, settings.ppo())

    def learn(self, steps: Steps) -> float:
        """One update from a batch; returns the entropy of the actions, nats.

        Raises:
            DivergenceError
        """
        counts = torch.ones_like(steps.rewards, dtype=torch.bool)
        found = generalised_advantages(
            steps.rewards, self._values(steps), counts, ends(steps), gamma=1.0, lam=self.settings.gae_lambda
        )
        self.scale.update(found.returns.flatten())
        samples = Samples(
            steps.actions, steps.log_probs, found.advantages, self.scale.standardise(found.returns), counts
        )
        rows = Samples(*(field.flatten(0, 1) for field in samples))  # [B T, k] each
        inputs, start = steps.inputs.flatten(0, 1), steps.start.flatten(0, 1)

        def evaluate(chosen: Tensor) -> Evaluation:
            seen = inputs[chosen]
            return Evaluation(self.deviators.log_policy(seen, start[chosen]), self.deviators.values(seen))

        measures = self.update.improve(rows, evaluate)
        for name, value in measures.items():
            if not math.isfinite(value):
                raise DivergenceError(f"{name}={value} of the deviators: training diverged; lower their lr")
        return measures["policy_entropy"]

    @torch.no_grad()
    def _values(self, steps: Steps) -> Tensor:
        """V of every step, and 0 after the last, [B, T + 1, k] reward units."""
        values = self.scale.restore(self.deviators.values(steps.inputs))
        return torch.cat([values, torch.zeros_like(values[:, :1])], 1)


def ends(steps: Steps) -> Tensor:
    """Which steps end an episode, [B, T, 1]: the last one."""
    batch_size, horizon = steps.rewards.shape[:2]
    last = torch.arange(horizon, device=steps.rewards.device) == horizon - 1
    return last.expand(batch_size, horizon).unsqueeze(-1)


def gains_by_type(types: Types, returns: Tensor, who: Tensor) -> tuple[Tensor, Tensor]:
    """What deviators of each type got and how much more that is than the others of their type got.

    Args:
        types: G of them.
        returns: of all agents in some episodes, [B, N].
        who: deviated, [B, k].

    Returns:
        Both [G], reward units; NaN where no one of a type deviated, or all did.
    """
    deviated = torch.zeros_like(returns, dtype=torch.bool).scatter(1, who, True)
    belongs = torch.nn.functional.one_hot(types.of, len(types.shares)).to(returns)  # [N, G]
    means = [
        ((returns * chosen) @ belongs).sum(0) / (chosen.to(returns) @ belongs).sum(0)
        for chosen in (deviated, ~deviated)
    ]
    return means[0], means[0] - means[1]


def over_types(types: Types, values: Tensor) -> float:
    """Mean of [G] values weighted by the types' shares, those that are NaN left out."""
    known = values.isfinite()
    shares = types.shares.to(values)[known]
    return ((values[known] * shares).sum() / shares.sum()).item()


def add_to_curve(
    curve: Curve, types: Types, returns: Tensor, who: Tensor, *, n_steps: int, entropy: float
) -> None:
    """Append a batch to the learning curve."""
    got, gains = gains_by_type(types, returns, who)
    curve.steps.append(n_steps + (curve.steps[-1] if curve.steps else 0))
    curve.returns.append(over_types(types, got))
    curve.gain.append(over_types(types, gains))
    curve.by_type.append(gains.tolist())
    curve.entropy.append(entropy)
