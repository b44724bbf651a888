"""The steps of the certificate as they are: e_h and d_h of a policy, enumerated or sampled."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mf_pmd.functional.distributions import count_values
from mf_pmd.functional.fictitious_play import deviator_density
from mf_pmd.functional.mean_field import mean_field_flow, tabular_policy


class Steps(NamedTuple):
    """What the certificate bounds, with standard errors, which are 0 where it is exact.

    Attributes:
        population: E |sigma(rho_h^-i) - mu_h|_1, [H].
        population_error: [H].
        law: |law of agent i's (s, a) - its law in the flow mu|_1, [H]; sampled, an estimate that is too low
            on average rather than too high.
        law_error: [H].
    """

    population: Tensor
    population_error: Tensor
    law: Tensor
    law_error: Tensor


class MeanFieldLaws(NamedTuple):
    """Attributes:
    population: mu_h of Lambda(pi), [H, C].
    deviator: law of one agent's (s, a) in that flow, [H, C].
    """

    population: Tensor
    deviator: Tensor


def mean_field_laws(game: Any, policy: Tensor, deviation: Tensor) -> MeanFieldLaws:
    """Of a population that plays ``policy`` and one agent in it that plays ``deviation``, [H, S, A] each."""
    model = game.mean_field_model()
    flow = mean_field_flow(model, tabular_policy(policy))
    density = deviator_density(flow, deviation, model.initial_law)  # [H, S]
    return MeanFieldLaws(flow.mu.flatten(1), (density.unsqueeze(-1) * deviation).flatten(1))


def values_in_flow(game: Any, policy: Tensor, deviations: Tensor) -> Tensor:
    """V(Lambda(pi), pi') for K policies of one agent, [K, H, S, A]: [K] float64."""
    flow = mean_field_flow(game.mean_field_model(), tabular_policy(policy))
    density = game.initial_law.expand(len(deviations), -1)  # [K, S]
    total = density.new_zeros(len(deviations))
    for h in range(game.horizon):
        law = density.unsqueeze(-1) * deviations[:, h]  # [K, S, A]
        total = total + torch.einsum("ksa,sa->k", law, flow.reward[h])
        density = torch.einsum("ksa,sat->kt", law, flow.transition[h])
    return total


def exact_steps(joint: Any, policy: Tensor, deviation: Tensor, *, agent: int) -> Steps:
    """Of one agent that plays ``deviation`` among others who play ``policy``, by enumeration.

    Args:
        joint: a ``JointGame``.
        policy, deviation: [H, S, A] float64.
        agent: which of the N.
    """
    game = joint.game
    laws = mean_field_laws(game, policy, deviation)
    profile = policy.repeat(game.n_agents, 1, 1, 1)
    profile[agent] = deviation
    cells = joint.states[:, None] * game.n_actions + joint.actions  # [X, Y, N]
    n_cells = game.n_states * game.n_actions
    counts = count_values(cells.flatten(0, 1), n_cells).double()  # [X * Y, C]
    own = torch.nn.functional.one_hot(cells[..., agent].flatten(), n_cells).double()
    others = (counts - own) / (game.n_agents - 1)
    population, law = torch.zeros(2, game.horizon, dtype=torch.float64)
    for h, chance in enumerate(joint_laws(joint, profile)):
        population[h] = chance.flatten() @ (others - laws.population[h]).abs().sum(-1)
        law[h] = (chance.flatten() @ own - laws.deviator[h]).abs().sum()
    return Steps(population, torch.zeros_like(population), law, torch.zeros_like(law))


def joint_laws(joint: Any, profile: Tensor) -> Iterator[Tensor]:
    """Law of the joint state and action at every step, [X, Y], under policies [N, H, S, A]."""
    law = joint.start
    for h in range(profile.shape[1]):
        chance = law[:, None] * action_chances(joint, profile, h, range(len(profile)))
        yield chance
        law = torch.einsum("xy,xyz->z", chance, table_at(joint.transition, h))


def table_at(tables: Tensor, h: int) -> Tensor:
    """The table of step h; one may serve all steps."""
    return tables[min(h, len(tables) - 1)]


def action_chances(joint: Any, profile: Tensor, h: int, agents: Any) -> Tensor:
    """Probability [X, Y] that these agents act as in joint action y in joint state x."""
    chance = torch.ones(len(joint.states), len(joint.actions), dtype=torch.float64)
    for i in agents:
        chance = chance * profile[i, h][joint.states[:, i]][:, joint.actions[:, i]]
    return chance


def deviation_returns(joint: Any, policy: Tensor, deviations: Tensor, *, agent: int) -> Tensor:
    """J^i(pi', pi^-i) of one agent for K policies of its own, the others playing ``policy``.

    Args:
        joint: a ``JointGame``.
        policy: [H, S, A] float64.
        deviations: [K, H, S, A] float64.
        agent: which of the N.

    Returns:
        [K] float64.
    """
    game = joint.game
    profile = policy.expand(game.n_agents, *policy.shape)
    others = [i for i in range(game.n_agents) if i != agent]
    law = joint.start.expand(len(deviations), -1)  # [K, X]
    total = law.new_zeros(len(deviations))
    for h in range(game.horizon):
        own = deviations[:, h][:, joint.states[:, agent]][..., joint.actions[:, agent]]  # [K, X, Y]
        chance = (law[..., None] * action_chances(joint, profile, h, others) * own).flatten(1)
        total = total + chance @ table_at(joint.rewards, h)[agent].flatten()
        law = chance @ table_at(joint.transition, h).flatten(0, 1)
    return total


def every_deviation(horizon: int, n_states: int, n_actions: int) -> Tensor:
    """All deterministic policies, [A^(H S), H, S, A] float64."""
    choices = torch.tensor(list(itertools.product(range(n_actions), repeat=horizon * n_states)))
    return torch.nn.functional.one_hot(choices.reshape(-1, horizon, n_states), n_actions).double()


def sampled_steps(game: Any, policy: Tensor, deviation: Tensor, *, n_episodes: int) -> Steps:
    """The same for the first agent, from episodes of the game; actions come from torch's global generator.

    |q - m|_1 = max over signs v of v (q - m): signs from half of the episodes, the mean by the other half,
    and the other way round, so that no noise is taken for a distance. If ``deviation`` is ``policy`` itself,
    all agents of its type have its law and are counted.

    Args:
        game: of N agents.
        policy, deviation: [H, S, A] float64.
        n_episodes: even.
    """
    laws = mean_field_laws(game, policy, deviation)
    n_cells = game.n_states * game.n_actions
    alike = game.personal == game.personal[0] if torch.equal(policy, deviation) else slice(0, 1)
    found = []
    states = game.reset(n_episodes)
    for h in range(game.horizon):
        actions = torch.multinomial(policy[h][states].flatten(0, 1), 1).reshape(states.shape)
        actions[:, 0] = torch.multinomial(deviation[h][states[:, 0]], 1).squeeze(-1)
        cells = states * game.n_actions + actions
        others = count_values(cells[:, 1:], n_cells) / (game.n_agents - 1)
        distances = (others - laws.population[h]).abs().sum(-1)  # [B]
        mean, error = distances.mean(), distances.std() / n_episodes**0.5
        found.append((mean, error, *_distance_of_laws(cells[:, alike], laws.deviator[h])))
        states = game.step_at(h, states, actions).next_states
    return Steps(*(torch.stack(column).double() for column in zip(*found, strict=True)))


def _distance_of_laws(drawn: Tensor, law: Tensor) -> tuple[Tensor, Tensor]:
    """|q - m|_1 of draws [B, K] from q against m [C], not above it on average, and its standard error.

    The K draws of a row may depend on one another.
    """
    halves = drawn.chunk(2)
    estimates = []
    for fitted, held_out in (halves, halves[::-1]):
        signs = torch.sign(count_values(fitted.reshape(1, -1), len(law))[0] / fitted.numel() - law)
        values = signs[held_out].mean(1) - signs @ law  # [B / 2]
        estimates.append(torch.stack([values.mean(), values.std() / len(held_out) ** 0.5]))
    mean, error = torch.stack(estimates).mean(0)  # the mean of two errors is at least that of the mean
    return mean, error
