"""Every term of the certificate is needed: a game on which half of it would not do.

The recursion stands here once more, in plain Python, a factor before each of its terms; with all factors 1 it
is the certificate. Each case is a game on which the quantity that is bounded is known exactly and lies
between the bound and the bound with one of the factors halved.
"""

import inspect
import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.functional.bounds import certificate

FACTORS = (
    "sampling",
    "exchange",
    "alpha of the others",
    "L_pop",
    "c carried",
    "L_P of the others",
    "d carried",
    "alpha of the deviator",
    "L_P of the deviator",
    "beta",
    "L_R",
    "d / 2",
    "2 B",
)


class Bound(NamedTuple):
    population: list[float]
    law: list[float]
    value: float
    gap: float


def recursion(constants, *, n_agents, n_cells, horizon, coupled=True, **factors):
    """The bound with factors before its terms, 1 unless given; ``gap`` is 2 B."""
    alpha, beta, l_p, l_r, l_pop = constants
    k = dict.fromkeys(FACTORS, 1.0) | factors
    n = n_agents - 1
    s = k["sampling"] * math.sqrt((n_cells - 1) / n)
    misled = k["alpha of the others"] * alpha + k["exchange"] * 2 * l_p / n
    e, c, d = [min(2.0, s)], 0.0, [0.0]
    for _ in range(horizon - 1):
        c = min(2.0, k["c carried"] * c + misled + k["L_P of the others"] * l_p * e[-1])
        step = k["alpha of the deviator"] * alpha + k["L_P of the deviator"] * l_p * e[-1]
        d.append(min(2.0, k["d carried"] * d[-1] + step))
        through = s + misled + k["L_pop"] * l_pop * e[-1]
        e.append(min(2.0, through, s + c) if coupled else min(2.0, through))
    value = sum(
        min(1.0, k["beta"] * beta + k["L_R"] * l_r * e_h + k["d / 2"] * d_h / 2)
        for e_h, d_h in zip(e, d, strict=True)
    )
    return Bound(e, d, value, 2 * k["2 B"] * value)


@given(
    st.tuples(st.floats(0, 2), st.floats(0, 1), st.floats(0, 3), st.floats(0, 1), st.floats(0, 4)),
    st.integers(2, 10**5),
    st.integers(1, 60),
    st.integers(1, 10),
    st.booleans(),
)
def test_the_recursion_is_the_certificate(constants, n_agents, n_cells, horizon, coupled):
    sizes = {"n_agents": n_agents, "n_cells": n_cells, "horizon": horizon, "coupled": coupled}
    expected, found = recursion(constants, **sizes), certified(constants, **sizes)
    assert found.population_error.tolist() == pytest.approx(expected.population)
    assert found.law_error.tolist() == pytest.approx(expected.law)
    assert found.bound == pytest.approx(expected.value)
    assert found.nash_gap(0.0) == pytest.approx(expected.gap)


def certified(constants, **sizes):
    names = ("alpha", "beta", "lipschitz_transition", "lipschitz_reward", "lipschitz_population")
    return certificate(**dict(zip(names, constants, strict=True)), **sizes)


class Case(NamedTuple):
    """Attributes:
    measured: the true value, exact.
    read: which number of a Bound bounds it.
    constants: alpha, beta, L_P, L_R, L_pop of the game.
    sizes: n_agents, n_cells, horizon.
    """

    measured: float
    read: Any
    constants: tuple[float, ...]
    sizes: dict[str, int]


@pytest.fixture
def two_states(written_out):
    """A game on states 0 and 1: chance of going to 0 and reward are (mu, u [..., 1, 1]) -> [..., 2, A]."""

    def make(chance, reward=nothing, *, n_agents, horizon, n_actions=1, start=0.5, population="others"):
        def law(mu, u):
            to_0 = torch.broadcast_to(chance(mu, u), torch.broadcast_shapes(mu.shape, u.shape))
            return torch.stack([to_0, 1 - to_0], -1)

        return written_out(
            law,
            reward,
            n_agents=n_agents,
            n_states=2,
            n_actions=n_actions,
            horizon=horizon,
            initial_law=torch.tensor([start, 1 - start], dtype=torch.float64),
            population=population,
        )

    return make


def nothing(mu, u):
    return torch.zeros(1, 1)


def fair(mu, u):
    return torch.full((1, 1), 0.5)


@pytest.fixture
def steps(enumeration, measured_steps):
    """e_h and d_h of agent 0, by enumeration; it plays ``own`` and the others ``rest``, an action each."""

    def enumerate_steps(game, rest=0, own=0):
        pure = torch.eye(game.n_actions, dtype=torch.float64)
        policy, deviation = (pure[a].expand(game.horizon, game.n_states, -1) for a in (rest, own))
        return measured_steps.exact_steps(enumeration.JointGame(game), policy, deviation, agent=0)

    return enumerate_steps


@pytest.fixture
def off_by(enumeration, measured_steps):
    """|J^i(pi) - V(Lambda(pi), pi)| of agent 0, all playing action 0."""

    def measure(game):
        pure = torch.eye(game.n_actions, dtype=torch.float64)[0].expand(game.horizon, game.n_states, -1)
        value = measured_steps.values_in_flow(game, pure, pure[None]).item()
        return abs(enumeration.JointGame(game).returns(pure.repeat(game.n_agents, 1, 1, 1))[0].item() - value)

    return measure


def crowd(mu):
    """Share of state 0, [..., 1, 1]."""
    return mu[..., :1, :].sum(-1, keepdim=True)


def sampling(two_states, steps):
    """One other agent, at 0 or 1 by a fair coin at every step: |sigma - mu|_1 is always 1."""
    game = two_states(fair, n_agents=2, horizon=2)
    found = steps(game).population
    assert found.tolist() == pytest.approx([1.0, 1.0])
    return Case(found[1].item(), lambda b: b.population[1], (0, 0, 0, 0, 0), sizes_of(game))


def exchange(two_states, steps):
    """All start at 0 and would stay, but agent 0, on another cell there, sends k / n of the rest away.

    The others share one cell, so that nothing is sampled: the step is taken with d = 1.
    """
    k, n_agents = 1.2, 4
    game = two_states(
        lambda mu, u: 1 - k * mu[..., :1, 1:], n_agents=n_agents, horizon=2, n_actions=2, start=1.0
    )
    found = steps(game, rest=0, own=1).population
    assert found.tolist() == pytest.approx([0.0, 2 * k / (n_agents - 1)])
    return Case(
        found[1].item(), lambda b: b.population[1], (0, 0, k, 0, k + 1), sizes_of(game) | {"n_cells": 1}
    )


def alpha_of_the_others(two_states, steps):
    """The first half go from 0 to 0, the rest from 0 to 1 and from there back to 0.

    The induced law is a fair coin: at step 1 the two kinds of agents make up for each other, at step 2 all
    are at 0.
    """
    sign = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    game = two_states(lambda mu, u: (1 + u * sign) / 2, n_agents=6, horizon=3, start=1.0)
    found = steps(game).population
    assert found[2].item() == pytest.approx(1.0)
    return Case(found[2].item(), lambda b: b.population[2], (1, 0, 0, 0, 0), sizes_of(game))


def feedback(slope, stay, width):
    """Chances of going to 0 for one at 0 and one at 1, who tend to stay and follow the crowd.

    (1 + stay) / 2 and (1 - stay) / 2, plus slope (y - 1/2) cut at +-width; L_P = slope, L_pop = slope + stay.
    """

    def chance(base):
        return lambda y: min(1.0, max(0.0, base + min(width, max(-width, slope * (y - 0.5)))))

    return chance((1 + stay) / 2), chance((1 - stay) / 2)


def counted(from_0, from_1, *, n_others, horizon):
    """e_h of a symmetric game with two states and one action, exact: how many others are at 0 is a chain.

    Half are at 0 at first, and stay so in the mean field: the chances add up to 1 at y and 1 - y.
    """
    k = np.arange(n_others + 1)
    law = 0.5 * np.stack([scipy.stats.binom.pmf(k, n_others, 0.5)] * 2)  # [own state, k]
    errors = []
    for _ in range(horizon):
        errors.append(float(law.sum(0) @ (2 * abs(k / n_others - 0.5))))
        after = np.zeros_like(law)
        for own, at_0 in zip(*np.nonzero(law > 1e-15), strict=True):
            met = at_0 + (own == 0)  # by the others, each leaving itself out
            stay, come = from_0((met - 1) / n_others), from_1(met / n_others)
            rest = np.convolve(
                scipy.stats.binom.pmf(k[: at_0 + 1], at_0, stay),
                scipy.stats.binom.pmf(k[: n_others - at_0 + 1], n_others - at_0, come),
            )
            chance = (from_0, from_1)[own](at_0 / n_others)
            after += law[own, at_0] * np.array([[chance], [1 - chance]]) * rest
        law = after
    return errors


def amplified(slope, stay, width, *, n_others, horizon):
    found = counted(*feedback(slope, stay, width), n_others=n_others, horizon=horizon)
    sizes = {"n_agents": n_others + 1, "n_cells": 2, "horizon": horizon}
    return Case(found[-1], lambda b: b.population[-1], (0, 0, slope, 0, slope + stay), sizes)


def l_pop():
    """Followers without memory: the population's accidents double at every step."""
    return amplified(2.0, 0.0, 1.0, n_others=100, horizon=4)


def l_p_of_the_others():
    """Eager followers with some memory, twice over."""
    return amplified(4.0, 0.5, 1.0, n_others=400, horizon=3)


def c_carried():
    """Agents who nearly always stay: what has parted remains so, and grows."""
    return amplified(0.3, 0.88, 0.06, n_others=100, horizon=12)


def d_carried(written_out, steps):
    """Agent 0 moves along 0, 1, 2 twice as often as the induced agent, and nothing brings it back."""

    def law(mu, u):
        ahead = 0.05 * (1 + u[..., None])
        path, one = torch.tensor([[[0.0, 1, 0]], [[0, 0, 1]], [[0, 0, 1]]]).double(), torch.eye(3)[:, None]
        return (1 - ahead) * one + ahead * path

    game = written_out(
        law,
        nothing,
        n_agents=2,
        n_states=3,
        n_actions=1,
        horizon=3,
        initial_law=torch.tensor([1.0, 0.0, 0.0]),
    )
    found = steps(game).law
    assert found[2].item() == pytest.approx(0.0925 + 0.085 + 0.0075)
    return Case(found[2].item(), lambda b: b.law[2], (0.1, 0, 0, 0, 1), sizes_of(game))


def uneven(two_states, reward=nothing):
    """Agent 0 goes to 0 with 3/4, the other with 1/4: alpha = 1/2 in one step."""
    return two_states(lambda mu, u: 0.5 + 0.25 * u, reward, n_agents=2, horizon=2)


def alpha_of_the_deviator(two_states, steps):
    game = uneven(two_states)
    found = steps(game).law
    return Case(found[1].item(), lambda b: b.law[1], (0.5, 0, 0, 0, 0), sizes_of(game))


def l_p_of_the_deviator(two_states, steps):
    """One other agent, unlike the mean field, is always at one place: |y - 1/2| / 2 is 1/4, not 0."""
    game = two_states(lambda mu, u: 0.25 + 0.5 * (crowd(mu) - 0.5).abs(), n_agents=2, horizon=2)
    found = steps(game).law
    assert found[1].item() == pytest.approx(0.5)
    return Case(found[1].item(), lambda b: b.law[1], (0, 0, 0.5, 0, 0.5), sizes_of(game))


def beta(two_states, off_by):
    game = two_states(
        fair,
        lambda mu, u: 0.5 + 0.3 * u,
        n_agents=2,
        horizon=3,
    )
    return Case(off_by(game), lambda b: b.value, (0, 0.3, 0, 0, 0), sizes_of(game))


def l_r(two_states, off_by):
    """As for L_P, but it is paid."""
    game = two_states(
        fair,
        lambda mu, u: 0.2 + 0.8 * (crowd(mu) - 0.5).abs(),
        n_agents=2,
        horizon=2,
    )
    return Case(off_by(game), lambda b: b.value, (0, 0, 0, 0.4, 0), sizes_of(game))


def half_of_d(two_states, off_by):
    """Paid to be at 0, where agent 0 is with 3/4 instead of 1/2."""
    game = uneven(two_states, lambda mu, u: torch.tensor([[1.0], [0.0]]))
    return Case(off_by(game), lambda b: b.value, (0.5, 0, 0, 0, 0), sizes_of(game))


def two_b(two_states, gain):
    """Action 1 pays agent 0 beta more than the induced agent and action 0 beta less, whom both pay alike."""
    sign = torch.tensor([[-1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)
    game = two_states(
        fair,
        lambda mu, u: 0.5 + 0.2 * u * sign,
        n_agents=2,
        horizon=2,
        n_actions=2,
    )
    return Case(gain(game), lambda b: b.gap, (0, 0.2, 0, 0, 0), sizes_of(game))


@pytest.fixture
def gain(enumeration):
    """E^i of agent 0 where all play action 0."""

    def measure(game):
        profile = torch.zeros(game.n_agents, game.horizon, game.n_states, game.n_actions, dtype=torch.float64)
        profile[..., 0] = 1.0
        return enumeration.JointGame(game).exploitability(profile, 0)

    return measure


def sizes_of(game):
    return {
        "n_agents": game.n_agents,
        "n_cells": game.n_states * game.n_actions,
        "horizon": game.horizon,
    }


CASES = {
    "sampling": sampling,
    "exchange": exchange,
    "alpha of the others": alpha_of_the_others,
    "L_pop": l_pop,
    "c carried": c_carried,
    "L_P of the others": l_p_of_the_others,
    "d carried": d_carried,
    "alpha of the deviator": alpha_of_the_deviator,
    "L_P of the deviator": l_p_of_the_deviator,
    "beta": beta,
    "L_R": l_r,
    "d / 2": half_of_d,
    "2 B": two_b,
}


@pytest.mark.parametrize("factor", FACTORS)
def test_half_of_a_term_would_not_do(factor, request):
    make = CASES[factor]
    case = make(*(request.getfixturevalue(name) for name in inspect.signature(make).parameters))
    found = certified(case.constants, **case.sizes)
    errors = found.population_error.tolist(), found.law_error.tolist()
    assert case.read(Bound(*errors, found.bound, found.nash_gap(0.0))) >= case.measured - 1e-9
    assert case.read(recursion(case.constants, **case.sizes, **{factor: 0.5})) < case.measured * (1 - 1e-3)


def test_the_exchange_beside_sampling_is_needed_too(two_states, steps):
    """With d = 2 and one other agent sampling alone is 1; the truth is 1 + z k - z^2 at p = (1 - z) / 2.

    Half of 2 L_P / n is never exceeded there: an error of sampling and one of the mean do not add up, so that
    the largest value for a bias b is 1 + b^2 / 4, at most 1 + b / 2.
    """
    k, p = 0.6, 0.35

    def chance(mu, u):  # y f_0(y) + (1 - y) f_1(y) = p for every y: the update is constant, L_pop = 0
        y = crowd(mu)
        return p + k * (1 - 2 * y) * torch.cat([1 - y, -y], -2)

    game = two_states(chance, n_agents=2, horizon=2)
    found = steps(game).population[1].item()
    assert found == pytest.approx(1 + 0.3 * k - 0.3**2)
    constants, sizes = (0, 0, 3 * k, 0, 0), sizes_of(game)
    assert recursion(constants, **sizes).population[1] >= found
    assert recursion(constants, **sizes, exchange=0.0).population[1] < found - 0.05


def test_the_chain_of_counts_is_the_enumeration(two_states, steps):
    slope, stay, width = 0.8, 0.3, 0.2
    from_0, from_1 = feedback(slope, stay, width)
    base = torch.tensor([[(1 + stay) / 2], [(1 - stay) / 2]], dtype=torch.float64)
    game = two_states(
        lambda mu, u: base + (slope * (crowd(mu) - 0.5)).clamp(-width, width),
        n_agents=5,
        horizon=4,
    )
    found = counted(from_0, from_1, n_others=4, horizon=4)
    assert steps(game).population.tolist() == pytest.approx(found)


def test_one_who_counts_itself_is_off_by_two_over_n(two_states, steps):
    """``population="all"``: alone on its cell, agent 0 meets 1 / N there, and no one in the mean field."""
    k, n_agents = 1.2, 4
    sizes = {"n_agents": n_agents, "horizon": 2, "n_actions": 2, "start": 1.0, "population": "all"}
    game = two_states(lambda mu, u: 1 - k * mu[..., :1, 1:], **sizes)
    found = steps(game, rest=0, own=1)
    assert found.law[1].item() == pytest.approx(2 * k / n_agents)
    alpha = 2 * k / n_agents
    bound = certified((alpha, 0, k, 0, k + 1), n_agents=n_agents, n_cells=1, horizon=2)  # nothing is sampled
    assert bound.law_error[1].item() == pytest.approx(found.law[1].item())
    assert bound.population_error[1].item() >= found.population[1].item()
