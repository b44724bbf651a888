"""Exploitability of the uniform policy, alpha, beta and the Lipschitz constants."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import uniform_policy

VARIANTS = [
    ("a_sis", {}),
    ("a_sis", {"eps": 0.2, "eps_beta": 1.0}),
    ("a_sis", {"eps": 0.01, "eps_recovery": 0.8}),
    ("a_rps", {}),
    ("a_rps", {"eps": 3.0}),
    ("a_beach", {"n_sites": 3}),
    ("a_beach", {"n_sites": 4, "eps": 0.3, "noise": 0.3, "c1": 0.2, "c3": 0.5, "eps_beta": 0.4}),
]
SYMMETRIC = {
    "a_sis": {"eps": 0.0, "eps_beta": 0.0, "eps_recovery": 0.0},
    "a_rps": {"eps": 0.0},
    "a_beach": {"eps": 0.0, "eps_beta": 0.0},
}
ids = [f"{key}-{'-'.join(f'{k}={v}' for k, v in changes.items())}" for key, changes in VARIANTS]


@pytest.mark.parametrize(("key", "expected"), [("a_sis", 1.495), ("a_rps", 0.283), ("a_beach", 4.033)])
def test_exploitability_of_the_uniform_policy(make_game, key, expected):
    game = make_game(key)
    found = mean_field_exploitability(
        game.mean_field_model(), uniform_policy(game.n_states, game.n_actions)
    ).item()
    assert found == pytest.approx(expected, abs=1e-3)


def disc(game, n_others, lattice, table):
    """max over agents, cells and lattice points of |kernel(u_i) - kernel(0)|_1, Def. 6."""
    zero = torch.zeros((), dtype=torch.float64)
    worst = 0.0
    for mu in lattice(n_others, game.n_states, game.n_actions):
        for u in game.personal.double().unique():
            difference = (table(mu, u) - table(mu, zero)).abs()
            worst = max(worst, (difference.sum(-1) if difference.dim() == 3 else difference).max().item())
    return worst


@pytest.mark.parametrize("n_agents", [2, 3, 4])
@pytest.mark.parametrize(("key", "changes"), VARIANTS, ids=ids)
def test_alpha_and_beta_are_attained_on_the_lattice(make_game, lattice, key, changes, n_agents):
    game = make_game(key, n_agents=n_agents, **changes)
    alpha = disc(game, n_agents - 1, lattice, game.transition_table)
    beta = disc(game, n_agents - 1, lattice, game.reward_table)
    assert alpha == pytest.approx(game.constants.alpha, abs=1e-9)
    assert beta == pytest.approx(game.constants.beta, abs=1e-9)


def test_closed_forms_at_the_defaults(make_game):
    sis, rps, beach = (make_game(key).constants for key in ("a_sis", "a_rps", "a_beach"))
    assert sis[:5] == pytest.approx((1.62 * 0.062, 0.15 / 1.65, 0.81, 0.0, 1.62))
    assert rps[:5] == pytest.approx((0.0, 6 * 0.176 / (9 * 1.176), 0.0, 0.5 / 1.176, 1.0))
    assert beach[:5] == pytest.approx((0.1, 0.1, 0.0, 0.2, 1.0))
    assert rps.beta == pytest.approx(0.1, abs=1e-3)  # as the paper's games are said to be
    assert (sis.monotone, rps.monotone, beach.monotone) == (False, False, True)
    assert sis.alpha == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize(("key", "changes"), VARIANTS, ids=ids)
def test_the_induced_game_is_the_mean_over_agents(make_game, key, changes):
    for n_agents in (4, 5):
        game = make_game(key, n_agents=n_agents, **changes)
        mu = torch.full((game.n_states, game.n_actions), 1.0, dtype=torch.float64)
        mu[0, 1] = 3.0
        mu /= mu.sum()
        model = game.mean_field_model()
        for table, induced in (
            (game.transition_table, model.transition),
            (game.reward_table, model.reward),
        ):
            mean = torch.stack([table(mu, u) for u in game.personal.double()]).mean(0)
            assert torch.allclose(mean, induced(mu), atol=1e-12)


@given(
    st.sampled_from(range(len(VARIANTS))),
    st.integers(0, 10**6),
    st.sampled_from([1.0, 0.1, 0.01]),
    st.sampled_from([0.1, 1.0]),
)
def test_lipschitz_constants_hold(make_game, variant, seed, distance, concentration):
    key, changes = VARIANTS[variant]
    game = make_game(key, **changes)
    model, constants = game.mean_field_model(), game.constants
    random = np.random.default_rng(seed)
    cells = game.n_states * game.n_actions
    first, other = random.dirichlet(np.full(cells, concentration), 2)
    second = (1 - distance) * first + distance * other
    mu, mu2 = (torch.from_numpy(x).reshape(game.n_states, game.n_actions) for x in (first, second))
    gap = (mu - mu2).abs().sum().item() + 1e-12
    law, law2 = model.transition(mu), model.transition(mu2)
    assert (law - law2).abs().sum(-1).max() <= constants.lipschitz_transition * gap + 1e-9
    assert (model.reward(mu) - model.reward(mu2)).abs().max() <= constants.lipschitz_reward * gap + 1e-9
    rows = torch.from_numpy(random.dirichlet(np.full(game.n_actions, 0.3), game.n_states))
    after, after2 = (
        torch.einsum("sa,sat->t", m, p).unsqueeze(-1) * rows for m, p in ((mu, law), (mu2, law2))
    )
    assert (after - after2).abs().sum() <= constants.lipschitz_population * gap + 1e-9
    spread = (law.flatten(0, 1)[:, None] - law.flatten(0, 1)[None]).abs().sum(-1).max().item()
    loose = constants.lipschitz_transition + spread / 2
    assert (after - after2).abs().sum() <= loose * gap + 1e-9


def corner(game, s, a=0):
    mu = torch.zeros(game.n_states, game.n_actions, dtype=torch.float64)
    mu[s, a] = 1.0
    return mu


def test_lipschitz_constants_are_attained_where_claimed(make_game):
    sis = make_game("a_sis")
    gap = sis.mean_field_model().transition(corner(sis, 1)) - sis.mean_field_model().transition(
        corner(sis, 0)
    )
    assert gap.abs().sum(-1).max().item() == pytest.approx(0.81 * 2)
    rps = make_game("a_rps")
    gap = rps.mean_field_model().reward(corner(rps, 1)) - rps.mean_field_model().reward(corner(rps, 0))
    assert gap.abs().max().item() == pytest.approx(rps.constants.lipschitz_reward * 2)
    beach = make_game("a_beach")
    gap = beach.mean_field_model().reward(corner(beach, 1)) - beach.mean_field_model().reward(
        corner(beach, 0)
    )
    assert gap.abs().max().item() == pytest.approx(beach.constants.lipschitz_reward * 2)


@pytest.mark.parametrize("key", sorted(SYMMETRIC))
def test_symmetric_limit(make_game, key):
    game = make_game(key, n_agents=5, **SYMMETRIC[key])
    assert game.constants.alpha == 0
    assert game.constants.beta == 0
    mu = torch.full((game.n_states, game.n_actions), 1 / (game.n_states * game.n_actions)).double()
    for table in (game.transition_table, game.reward_table):
        values = [table(mu, torch.tensor(u).double()) for u in (-1.0, 0.0, 1.0)]
        assert torch.equal(values[0], values[1])
        assert torch.equal(values[2], values[1])
