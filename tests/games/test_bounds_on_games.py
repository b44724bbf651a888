"""The certificate against the truth: what it bounds, enumerated where possible and sampled elsewhere."""

import math

import pytest
import torch

from mf_pmd.functional.best_response import best_response
from mf_pmd.functional.bounds import certificate
from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import mean_field_flow, tabular_policy
from mf_pmd.games import SymmetryConstants

ENUMERATED = [
    ("a_sis", {"n_agents": 4, "horizon": 4}),
    ("a_sis", {"n_agents": 4, "horizon": 4, "population": "all"}),
    ("a_sis", {"n_agents": 5, "horizon": 4, "eps": 0.2, "eps_beta": 1.0, "eps_recovery": 0.8}),
    ("a_rps", {"n_agents": 4, "horizon": 3}),
    ("a_rps", {"n_agents": 3, "horizon": 3, "eps": 3.0, "population": "all"}),
    ("a_beach", {"n_agents": 4, "horizon": 3, "n_sites": 3}),
    ("a_beach", {"n_agents": 3, "horizon": 4, "n_sites": 4, "population": "all"}),
    ("mild", {"alpha": 0.3, "slope": 0.8, "n_agents": 4, "horizon": 4}),
    ("mild", {"alpha": 0.1, "slope": 0.5, "n_agents": 4, "horizon": 4, "population": "all"}),
]
MILD = [
    {"alpha": 0.02, "beta": 0.03, "slope": 0.01, "pay": 0.04},
    {"alpha": 0.0, "beta": 0.1, "slope": 0.02, "pay": 0.05},
    {"alpha": 0.1, "beta": 0.0, "slope": 0.0, "pay": 0.1},
    {"alpha": 0.03, "beta": 0.02, "slope": 0.03, "pay": 0.02, "population": "all"},
]
SIGMAS = 4.0  # standard errors within which what is sampled may exceed a bound


@pytest.fixture
def mild(written_out):
    """A game with constants as small as one likes, whose kernels depend on the others' states and actions.

    P(0 | s, a, mu, u) = p(s, a) + (alpha / 2) g(s, a) u + slope <w, mu>, R = r(s, a) + beta g'(s, a) u
    + 2 pay <w', mu>, with w, w' in [0, 1]: |P - P'|_1 <= slope |mu - mu'|_1 and |R - R'| <= pay |mu - mu'|_1.
    """

    def make(*, alpha, slope, n_agents, horizon, beta=0.05, pay=0.1, population="others", seed=0):
        drawn = torch.rand(6, 2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        w, w_paid = ((part - part.min()) / (part.max() - part.min()) for part in drawn[:2])
        g, g_paid = (2 * part.sub(0.5) / part.sub(0.5).abs().max() / 2 for part in drawn[2:4])
        p = alpha / 2 + (1 - alpha - slope) * drawn[4]
        r = beta + (1 - 2 * beta - 2 * pay) * drawn[5]

        def law(mu, u):
            to_0 = p + alpha / 2 * g * u + slope * (w * mu).sum((-1, -2), keepdim=True)
            return torch.stack([to_0, 1 - to_0], -1)

        def reward(mu, u):
            return r + beta * g_paid * u + 2 * pay * (w_paid * mu).sum((-1, -2), keepdim=True)

        return written_out(
            law,
            reward,
            n_agents=n_agents,
            n_states=2,
            n_actions=2,
            horizon=horizon,
            initial_law=torch.tensor([0.3, 0.7], dtype=torch.float64),
            constants=SymmetryConstants(
                alpha, beta, slope, pay, slope + (p.max() - p.min()).item(), monotone=None
            ),
            population=population,
        )

    return make


@pytest.fixture
def game_of(make_game, mild):
    return lambda key, changes: mild(**changes) if key == "mild" else make_game(key, **changes)


def certified(game):
    constants = game.constants._asdict()
    del constants["monotone"]
    sizes = {"n_agents": game.n_agents, "n_cells": game.n_states * game.n_actions, "horizon": game.horizon}
    return certificate(**constants, **sizes)


def policies(game, random_policy, count):
    """The uniform policy, a pure one, and random ones, [H, S, A] each."""
    shape = (game.horizon, game.n_states, game.n_actions)
    uniform = torch.full(shape, 1 / game.n_actions, dtype=torch.float64)
    pure = torch.nn.functional.one_hot(random_policy(99, *shape).argmax(-1), game.n_actions).double()
    return [uniform, pure, *(random_policy(seed, *shape) for seed in range(count))]


def deviations(game, policy, random_policy):
    """What agent i may play instead: the same, another, the best response to the flow, its opposite."""
    flow = mean_field_flow(game.mean_field_model(), tabular_policy(policy))
    best = best_response(flow.transition, flow.reward).actions
    worst = best_response(flow.transition, -flow.reward).actions
    pure = [torch.nn.functional.one_hot(actions, game.n_actions).double() for actions in (best, worst)]
    return [policy, random_policy(7, *policy.shape), *pure]


@pytest.mark.parametrize(("key", "changes"), ENUMERATED)
def test_every_step_of_random_policies_enumerated(
    game_of, enumeration, measured_steps, random_policy, key, changes
):
    game = game_of(key, changes)
    bound, joint = certified(game), enumeration.JointGame(game)
    for policy in policies(game, random_policy, 2):
        for deviation in deviations(game, policy, random_policy):
            for agent in (0, game.n_agents - 1):
                found = measured_steps.exact_steps(joint, policy, deviation, agent=agent)
                assert (found.population <= bound.population_error + 1e-9).all()
                assert (found.law <= bound.law_error + 1e-9).all()


@pytest.mark.parametrize("n_agents", [20, 1000])
@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("a_sis", {}),
        ("a_sis", {"eps": 0.0, "eps_beta": 0.0}),
        ("a_rps", {}),
        ("a_beach", {}),
        ("a_beach", {"eps": 0.0, "eps_beta": 0.0, "population": "all"}),
        ("mild", {"alpha": 0.3, "slope": 0.6, "horizon": 10}),
    ],
)
def test_every_step_of_random_policies_sampled(
    game_of, measured_steps, random_policy, key, changes, n_agents
):
    game = game_of(key, {**changes, "n_agents": n_agents})
    bound = certified(game)
    torch.manual_seed(0)
    for policy in policies(game, random_policy, 1)[::2]:
        for deviation in deviations(game, policy, random_policy)[::2]:
            found = measured_steps.sampled_steps(
                game, policy, deviation, n_episodes=400 if n_agents < 100 else 20
            )
            excess = found.population - bound.population_error
            assert (excess <= SIGMAS * found.population_error + 1e-6).all()
            assert (found.law - bound.law_error <= SIGMAS * found.law_error + 1e-6).all()


@pytest.mark.parametrize("key", ["a_sis", "a_rps", "a_beach"])
def test_the_first_step_is_half_attained_by_the_uniform_policy(make_game, measured_steps, random_policy, key):
    game = make_game(key, n_agents=200, horizon=1)
    uniform = policies(game, random_policy, 0)[0]
    torch.manual_seed(1)
    found = measured_steps.sampled_steps(game, uniform, uniform, n_episodes=200)
    share = found.population / certified(game).population_error
    assert (
        math.sqrt(0.5) < share.item() <= math.sqrt(2 / math.pi) + 0.05
    )  # E |z| of a normal z, were mu uniform


def test_samples_agree_with_the_enumeration(make_game, enumeration, measured_steps, random_policy):
    game = make_game("a_sis", n_agents=4, horizon=4, eps=0.2, eps_recovery=2.0)
    policy, deviation = random_policy(0, 4, 2, 2), random_policy(1, 4, 2, 2)
    exact = measured_steps.exact_steps(enumeration.JointGame(game), policy, deviation, agent=0)
    torch.manual_seed(0)
    found = measured_steps.sampled_steps(game, policy, deviation, n_episodes=20_000)
    assert ((found.population - exact.population).abs() <= SIGMAS * found.population_error).all()
    assert ((found.law - exact.law).abs() <= SIGMAS * found.law_error).all()
    assert exact.law.max() > 20 * found.law_error.max()
    exact = measured_steps.exact_steps(enumeration.JointGame(game), policy, policy, agent=0)
    found = measured_steps.sampled_steps(game, policy, policy, n_episodes=20_000)
    assert ((found.law - exact.law).abs() <= SIGMAS * found.law_error).all()


def test_enumerated_returns_are_those_of_the_joint_game(
    make_game, enumeration, measured_steps, random_policy
):
    game = make_game("a_sis", n_agents=3, horizon=2)
    joint, policy = enumeration.JointGame(game), random_policy(0, 2, 2, 2)
    every = measured_steps.every_deviation(2, 2, 2)
    assert every.shape == (16, 2, 2, 2)
    for agent in range(3):
        found = measured_steps.deviation_returns(joint, policy, torch.cat([every, policy[None]]), agent=agent)
        profile = policy.repeat(3, 1, 1, 1)
        assert found[-1].item() == pytest.approx(joint.returns(profile)[agent].item())
        gain = (found.max() - found[-1]).item()
        assert gain == pytest.approx(joint.exploitability(profile, agent))


def worst_of(measured_steps, joint, policy):
    """Largest |J^i - V(Lambda(pi), .)| over agents and deterministic deviations, and largest E^i."""
    game = joint.game
    every = measured_steps.every_deviation(game.horizon, game.n_states, game.n_actions)
    every = torch.cat([every, policy[None]])
    values = measured_steps.values_in_flow(game, policy, every)  # [K + 1]
    returns = torch.stack(
        [
            measured_steps.deviation_returns(joint, policy, every, agent=agent)
            for agent in range(game.n_agents)
        ]
    )  # [N, K + 1]
    return (returns - values).abs().max().item(), (returns.amax(1) - returns[:, -1]).max().item()


def check_promise(measured_steps, joint, policy):
    """Returns whether the certificate says anything of this policy."""
    bound = certified(joint.game)
    exploitability = mean_field_exploitability(joint.game.mean_field_model(), tabular_policy(policy)).item()
    off, gain = worst_of(measured_steps, joint, policy)
    assert off <= bound.bound + 1e-9
    assert gain <= bound.nash_gap(exploitability) + 1e-9
    return not bound.vacuous(exploitability)


@pytest.mark.parametrize("changes", MILD)
def test_fifty_policies_where_it_says_something(mild, enumeration, measured_steps, random_policy, changes):
    joint = enumeration.JointGame(mild(**changes, n_agents=4, horizon=3))
    told = [check_promise(measured_steps, joint, random_policy(seed, 3, 2, 2)) for seed in range(50)]
    assert all(told)


@pytest.mark.parametrize("population", ["others", "all"])
def test_fifty_policies_of_a_sis(make_game, enumeration, measured_steps, random_policy, population):
    joint = enumeration.JointGame(make_game("a_sis", n_agents=4, horizon=3, population=population))
    for seed in range(50):
        check_promise(measured_steps, joint, random_policy(seed, 3, 2, 2))


def test_agents_who_are_alike_and_apart_are_exact(mild, enumeration, measured_steps, random_policy):
    game = mild(alpha=0.0, beta=0.0, slope=0.0, pay=0.0, n_agents=4, horizon=3)
    bound = certified(game)
    assert bound.bound == 0.0
    for seed in range(5):
        off, gain = worst_of(measured_steps, enumeration.JointGame(game), random_policy(seed, 3, 2, 2))
        policy = tabular_policy(random_policy(seed, 3, 2, 2))
        assert off < 1e-12
        assert gain == pytest.approx(mean_field_exploitability(game.mean_field_model(), policy).item())


def test_no_reward_from_the_others_leaves_the_laws_alone_to_err(
    mild, enumeration, measured_steps, random_policy
):
    game = mild(alpha=0.0, beta=0.0, slope=0.5, pay=0.0, n_agents=4, horizon=3)
    bound = certified(game)
    assert bound.bound == pytest.approx(bound.law_error.sum().item() / 2)
    off, _ = worst_of(measured_steps, enumeration.JointGame(game), random_policy(0, 3, 2, 2))
    assert 1e-3 < off <= bound.bound


def test_what_theory_says_of_the_benchmarks(make_game):
    """2 B of the first recursion alone at the defaults, and of the certificate itself."""
    symmetric = {"eps": 0.0, "eps_beta": 0.0}
    for key, changes, first, sharper in (
        ("a_sis", {}, 34.31, 34.07),
        ("a_beach", {}, 31.65, 28.41),
        ("a_rps", {}, 4.954, 2.533),
        ("a_beach", symmetric, 11.70, 1.363),
    ):
        game = make_game(key, **changes)
        constants = game.constants._asdict()
        del constants["monotone"]
        sizes = {
            "n_agents": game.n_agents,
            "n_cells": game.n_states * game.n_actions,
            "horizon": game.horizon,
        }
        plain = certificate(**constants, **sizes, coupled=False)
        assert plain.nash_gap(0.0) == pytest.approx(first, abs=5e-3)
        assert certified(game).nash_gap(0.0) == pytest.approx(sharper, abs=5e-3)
        assert certified(game).vacuous(0.0) == (sharper >= game.horizon)
