"""Equilibria of the induced game, and what deviating from them is worth among N players."""

from typing import NamedTuple

import torch
from torch import Tensor

from mf_pmd.evaluation.playing import play, shared
from mf_pmd.functional.best_response import best_response
from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import Flow, MeanFieldModel, tabular_policy
from mf_pmd.functional.online_mirror_descent import online_mirror_descent_step, policy_q_values
from mf_pmd.games import PopulationGame
from mf_pmd.runners.deviations import DeviationScore, scores_of

AGENTS_AT_ONCE = 2**20  # of all episodes that are played side by side
LOOK_EVERY = 25  # iterations of the oracle


class Equilibrium(NamedTuple):
    """Attributes:
    policy: [H, S, A] float64.
    exploitability: E(pi) in the induced game, exact, reward units.
    """

    policy: Tensor
    exploitability: float


class Gain(NamedTuple):
    """N-player exploitability, reward units summed over the horizon.

    Attributes:
        mean: over agents.
        largest: over types.
    """

    mean: float
    largest: float


def solve(model: MeanFieldModel, *, n_actions: int, step_size: float, iterations: int) -> Equilibrium:
    """The best iterate of online mirror descent (Perolat et al. 2022, Alg. 1), looked at now and then."""
    shape = (model.horizon, len(model.initial_law), n_actions)
    logits = torch.zeros(shape, dtype=torch.float64)
    best = Equilibrium(torch.softmax(logits, -1), float("inf"))
    for t in range(iterations + 1):
        if t % LOOK_EVERY == 0:
            policy = torch.softmax(logits, -1)
            found = mean_field_exploitability(model, tabular_policy(policy)).item()
            best = min(best, Equilibrium(policy, max(found, 0.0)), key=lambda known: known.exploitability)
        logits = online_mirror_descent_step(model, logits, step_size=step_size).logits
    return best


def exact_gain(game: PopulationGame, policy: Tensor) -> Gain:
    """Exact for games whose kernels do not read the population and whose rewards are linear in it.

    Agents are then independent, a deviator moves no other, and its expected reward is that at the mean of
    what the others are: E^i is the exploitability against the mean flow of the other N - 1, agent i's
    type being one fewer, by backward induction on its own kernels. A_beach and a_rps are such games.

    Args:
        game: with ``population`` ``others`` or ``all``.
        policy: of all agents, [H, S, A] float64.
    """
    personal, sizes = torch.unique(game.personal.double(), return_counts=True)  # [G]
    flows = type_flows(game, policy, personal)  # [G, H, S, A]
    total = torch.einsum("g,ghsa->hsa", sizes.double(), flows)
    steps, gains = torch.arange(game.horizon), []
    for u, own in zip(personal, flows, strict=True):
        law, reward = game.tables_met((total - own) / (game.n_agents - 1), u, steps)
        best = best_response(law, reward).value
        value = (policy[0] * policy_q_values(Flow(own, policy, law, reward))[0]).sum(-1)
        gains.append(((best - value) @ game.initial_law).item())
    mean = sum(gain * size for gain, size in zip(gains, sizes.tolist(), strict=True)) / game.n_agents
    return Gain(mean, max(gains))


def type_flows(game: PopulationGame, policy: Tensor, personal: Tensor) -> Tensor:
    """Where agents of each type are and what they do, when no kernel reads the population: [G, H, S, A]."""
    anything = torch.full(policy.shape[1:], 1 / policy[0].numel(), dtype=torch.float64)
    law = game.transition_table(anything.expand(len(personal), -1, -1), personal)  # [G, S, A, S]
    nu, flows = game.initial_law.expand(len(personal), -1), []
    for rows in policy:
        flows.append(nu.unsqueeze(-1) * rows)
        nu = torch.einsum("gsa,gsat->gt", flows[-1], law.expand(len(personal), *flows[-1].shape[1:], -1))
    return torch.stack(flows, 1)


def overcrowding(n_others: int) -> float:
    """E (K/n - 1/2)^+ for K binomial(n, 1/2), exactly."""
    counts = torch.arange(n_others + 1, dtype=torch.float64)
    logs = torch.lgamma(torch.tensor(n_others + 1.0, dtype=torch.float64)) - (
        torch.lgamma(counts + 1) + torch.lgamma(n_others - counts + 1)
    )
    chance = torch.exp(logs + n_others * torch.log(torch.tensor(0.5, dtype=torch.float64)))
    return (chance * (counts / n_others - 0.5).clamp(min=0)).sum().item()


@torch.no_grad()
def bracketed(game: PopulationGame, policy: Tensor, *, n_episodes: int, seed: int) -> dict[str, float]:
    """The bracket of ``runners.deviations`` on episodes in which all agents play a table [H, S, A]."""
    torch.manual_seed(seed)
    choose = shared(tabular_policy(policy.float()), game, reads_population=False)
    score = DeviationScore(game, n_episodes=n_episodes)
    at_once = max(1, min(n_episodes, AGENTS_AT_ONCE // game.n_agents))
    for part in torch.arange(n_episodes).split(at_once):
        returns = torch.zeros(len(part), game.n_agents, dtype=torch.float64)
        for step in play(game, choose, batch_size=len(part)):
            score.add_actions(step.h, step.states, step.actions)
            returns += step.rewards
        score.add_returns(returns)
    return scores_of(score.verdict(score.gains()))
