"""What TD learns of Q^{tau, pi} from the episodes of an N-player game, beside what is exact."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mf_pmd.evaluation.playing import play, shared
from mf_pmd.functional.cells import CellStatistics, cell_statistics
from mf_pmd.functional.distributions import entropy
from mf_pmd.functional.mean_field import Flow, mean_field_flow, tabular_policy
from mf_pmd.functional.online_mirror_descent import policy_q_values
from mf_pmd.functional.private_td import Trajectories, private_td_step
from mf_pmd.functional.td_targets import paper_learning_rate, sweep_backwards
from mf_pmd.games import PopulationGame

AGENTS_AT_ONCE = 2**17  # of all episodes that are played side by side

Maker = Callable[[int], PopulationGame]
"""A game from a seed."""


class Exact(NamedTuple):
    """Attributes:
    q_values: Q^{tau, pi} of the induced game, [H, S, A] float64, reward units.
    mu: flow of pi in it, [H, S, A].
    """

    q_values: Tensor
    mu: Tensor


class Episodes(NamedTuple):
    """What R seeds played.

    Attributes:
        first: trajectories of agent 1, [M, T + 1 or T, R]: a seed an "agent".
        pooled: counts of all agents in the first M_k episodes, [K] lists of R statistics, B = 1.
    """

    first: Trajectories
    pooled: list[list[CellStatistics]]


def random_policy(game: PopulationGame, *, spread: float, seed: int = 0) -> Tensor:
    """Rows softmax(spread z), z standard normal: [H, S, A] float64; uniform at spread 0."""
    shape = (game.horizon, game.n_states, game.n_actions)
    draws = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.softmax(spread * draws, -1)


def exact_q(game: PopulationGame, policy: Tensor, *, tau: float) -> Exact:
    """Q^{tau, pi} of the induced game, by backward induction along its flow (Yardim & He 2025, Def. 10)."""
    flow = mean_field_flow(game.mean_field_model(), tabular_policy(policy))
    return Exact(policy_q_values(with_entropy(flow, tau)), flow.mu)


def with_entropy(flow: Flow, tau: float) -> Flow:
    """The flow with rewards R + tau Ent(pi_h(. | s))."""
    return flow._replace(reward=flow.reward + tau * entropy(flow.policy.log()).unsqueeze(-1))


def limit_q(game: PopulationGame, policy: Tensor, *, tau: float) -> tuple[Tensor, Tensor]:
    """What TD tends to as M and N grow: from agent 1 alone, and pooled over all; [H, S, A] each.

    Types of agents move by kernels of their own against one population; agent 1 learns the Q of its own
    type, pooling the one of kernels averaged by who is in the state.
    """
    personal, sizes = torch.unique(game.personal.double(), return_counts=True)  # [G]
    first = int((personal == game.personal[0].double()).nonzero())
    nu = game.initial_law.expand(len(personal), -1)  # [G, S]
    shares = (sizes / game.n_agents).unsqueeze(-1)  # [G, 1]
    own, together = [], []
    for h in range(game.horizon):
        mu = ((shares * nu).sum(0).unsqueeze(-1) * policy[h]).expand(len(personal), -1, -1)  # [G, S, A]
        law = game.transition_table(mu, personal).expand(*mu.shape, game.n_states)
        reward = game.reward_table(mu, personal).expand(mu.shape)
        weight = shares * nu / (shares * nu).sum(0)  # [G, S], who is in the state
        own.append((mu[first], policy[h], law[first], reward[first]))
        mixed = torch.einsum("gs,gsat->sat", weight, law), torch.einsum("gs,gsa->sa", weight, reward)
        together.append((mu[0], policy[h], *mixed))
        nu = torch.einsum("gs,sa,gsat->gt", nu, policy[h], law)
    flows = [Flow(*(torch.stack(parts) for parts in zip(*steps, strict=True))) for steps in (own, together)]
    return tuple(policy_q_values(with_entropy(flow, tau)) for flow in flows)


@torch.no_grad()
def play_episodes(make: Maker, policy: Tensor, *, counts: Sequence[int], seeds: int) -> Episodes:
    """Play max(counts) episodes of every seed, and count all agents' cells in the first M_k of them.

    Args:
        make: the game, from a seed.
        policy: what all agents play, [H, S, A].
        counts: M_1 < ... < M_K.
        seeds: R; they are 1 .. R.
    """
    firsts, pooled = [], [[] for _ in counts]
    for seed in range(1, seeds + 1):
        torch.manual_seed(seed)
        game = make(seed)
        choose = shared(tabular_policy(policy.float()), game, reads_population=False)
        parts, total, begun = [], None, 0
        for k, count in enumerate(counts):
            while begun < count:
                batch_size = min(count - begun, max(1, AGENTS_AT_ONCE // game.n_agents))
                part = trajectories(game, choose, batch_size)
                parts.append(part.agents(slice(0, 1)))
                statistics = counted(part, game)
                total = statistics if total is None else total.joined(statistics).pooled()
                begun += batch_size
            pooled[k].append(total)
        firsts.append([torch.cat(fields) for fields in zip(*parts, strict=True)])
    return Episodes(Trajectories(*(torch.cat(f, -1) for f in zip(*firsts, strict=True))), pooled)


def trajectories(game: PopulationGame, choose: Callable, batch_size: int) -> Trajectories:
    """Some episodes of all agents."""
    steps = list(play(game, choose, batch_size=batch_size))
    states = torch.stack([*(step.states for step in steps), steps[-1].next_states], 1)
    return Trajectories(
        states, *(torch.stack([getattr(s, name) for s in steps], 1) for name in ("actions", "rewards"))
    )


def counted(part: Trajectories, game: PopulationGame) -> CellStatistics:
    """All agents of all these episodes in one table of counts, B = 1."""
    sizes = {"n_states": game.n_states, "n_actions": game.n_actions}
    return cell_statistics(*part, **sizes, dtype=torch.float64).pooled()


def pooled_td(episodes: Episodes, policy: Tensor, *, tau: float) -> Tensor:
    """Q of the default form, all agents and episodes in one backward sweep: [R, K, H, S, A]."""
    tables = [
        [sweep_backwards(found, policy.log().unsqueeze(0), tau=tau).q_values[0] for found in group]
        for group in episodes.pooled
    ]
    return torch.stack([torch.stack(group) for group in tables], 1)


def algorithm_one(
    episodes: Episodes, policy: Tensor, *, tau: float, delta: float, counts: Sequence[int]
) -> Tensor:
    """Q^M of Yardim & He 2025, Alg. 1 as printed, on agent 1, after M_k episodes: [R, K, H, S, A].

    SARSA targets, all h at once, eta_m = (2/delta) / (m + 2/delta); the seeds are worked off side by side,
    each a table of its own.

    Args:
        episodes: of R seeds.
        policy: what was played, [H, S, A].
        tau: weight of the entropy.
        delta: smallest positive probability of a cell (h, s, a).
        counts: M_1 < ... < M_K.
    """
    n_seeds = episodes.first.rewards.shape[-1]
    log_policy = policy.log().expand(n_seeds, *policy.shape)
    q_values, found = torch.zeros_like(log_policy), []
    for m in range(max(counts)):
        rate = torch.full_like(q_values, paper_learning_rate(m, delta))
        q_values = private_td_step(
            q_values, episodes.first.episode(m), log_policy, tau=tau, learning_rate=rate, expected=False
        )
        if m + 1 in counts:
            found.append(q_values)
    return torch.stack(found, 1)


def differences(q_values: Tensor, exact: Exact) -> Tensor:
    """sqrt(mu_h) (Q - Q^{tau, pi}), whose squares sum to the theorem's error: [R, K, H S A]."""
    return ((q_values - exact.q_values) * exact.mu.sqrt()).flatten(2)
