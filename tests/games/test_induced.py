"""The induced game: of tables, of kernels that are called, extended in every way, and handed to MFGLib."""

import sys

import pytest
import torch

from mf_pmd.errors import UserError
from mf_pmd.functional import extension as extensions
from mf_pmd.functional import lattice_extension
from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.extension import lipschitz_constant
from mf_pmd.functional.mean_field import mean_field_flow, tabular_policy, uniform_policy
from mf_pmd.functional.online_mirror_descent import online_mirror_descent_step
from mf_pmd.functional.populations import spread_populations
from mf_pmd.games import TableGame
from mf_pmd.games.induced import EXTENSIONS, induced_game
from mf_pmd.games.joint_kernels import TableKernels
from mf_pmd.games.lattice_kernels import table_lattice

SMALL = [("a_sis", {}), ("a_rps", {}), ("a_beach", {"n_sites": 3})]


def populations(game, n=40):
    spread = spread_populations(n, game.n_states * game.n_actions, generator=torch.Generator().manual_seed(5))
    return spread.reshape(-1, game.n_states, game.n_actions)


def assert_same(first, second, mu, *, h=0, atol=1e-9):
    for mine, theirs in ((first.transition_at, second.transition_at), (first.reward_at, second.reward_at)):
        assert torch.allclose(mine(h, mu), theirs(h, mu).expand(mine(h, mu).shape), atol=atol)


@pytest.mark.parametrize("n_agents", [3, 4])
@pytest.mark.parametrize(("key", "changes"), SMALL)
def test_of_tables_it_is_the_declared_game(make_game, key, changes, n_agents):
    game = make_game(key, n_agents=n_agents, **changes)
    induced, mu = induced_game(game), populations(game)
    assert_same(induced, game.mean_field_model(), mu)
    one = induced.transition(mu[3])
    assert torch.allclose(one, induced.transition(mu)[3])
    assert one.shape == (game.n_states, game.n_actions, game.n_states)


def test_it_is_not_where_probabilities_are_clipped(make_game):
    game = make_game("a_sis", n_agents=4, eps_recovery=2.0)
    mu = populations(game, 3)[0]
    assert induced_game(game).transition(mu)[1, 0, 0].item() == pytest.approx(0.45)  # of .9 and 0
    assert game.mean_field_model().transition(mu)[1, 0, 0].item() == pytest.approx(0.3)


def test_an_agent_that_counts_itself_in_meets_itself(make_game):
    game = make_game("a_sis", n_agents=4, population="all")
    mu = populations(game)
    ill = mu[:, 1].sum(-1)
    caught = induced_game(game).transition(mu)[:, 0, 0, 1]
    assert torch.allclose(caught, 0.81 * 0.75 * ill)  # healthy, it is one of the four
    assert_same(induced_game(game), induced_game(game, extension="smooth"), mu)


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("n_agents", [3, 4])
@pytest.mark.parametrize(("key", "changes"), SMALL)
def test_of_affine_kernels_it_is_the_tables(make_game, key, changes, n_agents, extension):
    """On the lattice for every extension that interpolates; on all of the simplex where data are tight."""
    game = make_game(key, n_agents=n_agents, **changes)
    kernels = TableKernels(game) if n_agents == 3 else game
    induced = induced_game(kernels, extension=extension)
    points = (table_lattice(game).counts.double() / (n_agents - 1)).unflatten(1, (game.n_states, -1))
    assert_same(induced, induced_game(game), points[::5])
    if extension == "smooth":
        assert_same(induced, induced_game(game), populations(game))


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_on_a_line_affine_data_are_tight(make_game, extension):
    game = make_game("a_sis", n_agents=4)
    induced = induced_game(game, extension=extension, depends_on="states")
    assert_same(induced, induced_game(game), populations(game, 20))


class Imitation(TableGame):
    """Everybody goes where everybody is: P(. | s, a, mu) = nu, an isometry."""

    def __init__(self, n_agents=4):
        super().__init__(
            n_agents=n_agents, n_states=3, n_actions=1, horizon=3, initial_law=torch.tensor([0.5, 0.3, 0.2])
        )

    def transition_table(self, mu, personal):
        nu = mu.sum(-1)[..., None, None, :]
        return nu.expand(*nu.shape[:-3], 3, 1, 3)

    def reward_table(self, mu, personal):
        return 1 - mu.sum(-1, keepdim=True)


def test_an_isometry_is_tight_in_every_direction():
    game = Imitation()
    mu = populations(game)
    induced = induced_game(TableKernels(game))
    assert torch.allclose(induced.transition(mu), game.transition_table(mu, torch.tensor(0.0)), atol=1e-7)


def test_the_ring_induces_its_closed_form_everywhere(ring_of_neighbours):
    ring = ring_of_neighbours(5)
    mu = populations(ring)
    for settings in ({"extension": "smooth"}, {"depends_on": "states"}):
        caught = induced_game(ring, **settings).transition(mu)[:, 0, 0, 1]
        assert torch.allclose(caught, 0.9 * mu[:, 1].sum(-1), atol=1e-9)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_extended_kernels_are_kernels(ring_of_neighbours, extension):
    ring = ring_of_neighbours(4)
    induced, mu = induced_game(ring, extension=extension), populations(ring)
    law, reward = induced.transition(mu), induced.reward(mu)
    assert torch.allclose(law.sum(-1), torch.ones(law.shape[:-1]).double())
    assert law.min() >= 0
    assert 0 <= reward.min() <= reward.max() <= 1 + 1e-12
    found = mean_field_exploitability(induced, uniform_policy(2, 2))
    assert 0.1 < found < ring.horizon


def test_drawn_arrangements_come_near(ring_of_neighbours):
    ring, mu = ring_of_neighbours(4), populations(ring_of_neighbours(4))
    exact = induced_game(ring, extension="smooth").transition(mu)
    near = induced_game(ring, extension="smooth", n_arrangements=300, seed=1).transition(mu)
    assert 0 < (near - exact).abs().max() < 0.05


@pytest.mark.parametrize(("key", "changes"), SMALL)
def test_exploitability_by_the_existing_functions(make_game, random_policy, key, changes):
    game = make_game(key, n_agents=3, horizon=4, **changes)
    policy = tabular_policy(random_policy(1, 4, game.n_states, game.n_actions))
    expected = mean_field_exploitability(game.mean_field_model(), policy)
    found = mean_field_exploitability(induced_game(TableKernels(game), extension="smooth"), policy)
    assert found.item() == pytest.approx(expected.item(), abs=1e-9)


def test_actions_that_matter_are_no_matter_of_states():
    class Dress(Imitation):
        def __init__(self):
            TableGame.__init__(
                self, n_agents=3, n_states=2, n_actions=2, horizon=2, initial_law=torch.tensor([0.5, 0.5])
            )

        def transition_table(self, mu, personal):
            odds = mu.sum(-2)[..., None, None, :]
            return odds.expand(*odds.shape[:-3], 2, 2, 2)

        def reward_table(self, mu, personal):
            return 0 * mu

    with pytest.raises(UserError, match=r"depends_on=states: .* depends on other coordinates too; say cells"):
        induced_game(TableKernels(Dress()), depends_on="states")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"extension": "linear"}, "extension=linear: there is no such, choose one of None, kirszbraun"),
        ({"depends_on": "actions"}, "depends_on=actions: there is no such, choose one of cells, states"),
    ],
)
def test_unknown_words(make_game, settings, said):
    with pytest.raises(UserError, match=said):
        induced_game(make_game("a_sis", n_agents=3), **settings)


def test_a_large_lattice_is_not_extended_from(make_game):
    game = make_game("a_sis", n_agents=31)
    with pytest.raises(UserError, match="N = 31, S = 2, A = 2: the lattice has 5,456 points, at most 2,000"):
        induced_game(game, extension="kirszbraun")
    by_states = induced_game(game, extension="kirszbraun", depends_on="states")
    assert_same(by_states, induced_game(game), populations(game, 5))


def test_samples_are_looked_at_once(make_game, monkeypatch):
    looked = []

    def counting(samples, values):
        looked.append(len(samples))
        return steepest(samples, values)

    steepest = extensions.steepest_pair
    monkeypatch.setattr(extensions, "steepest_pair", counting)
    game = make_game("a_sis", n_agents=4)
    induced = induced_game(game, extension="kirszbraun")
    before, mu = len(looked), populations(game, 3)
    for _ in range(3):
        induced.transition(mu)
        induced.reward(mu)
    assert len(looked) == before > 0


def test_a_constant_below_the_samples_own_is_one_line(make_game, monkeypatch):
    def half(points, values):
        return lipschitz_constant(points, values) / 2

    monkeypatch.setattr(lattice_extension, "lipschitz_constant", half)
    with pytest.raises(
        UserError, match=r"^extension=kirszbraun: .*; look at the kernels of ASIS$"
    ) as refused:
        induced_game(make_game("a_sis", n_agents=4), extension="kirszbraun")
    assert "\n" not in str(refused.value)


def test_a_population_that_is_none_is_one_line(make_game):
    game = make_game("a_sis", n_agents=4)
    mu = populations(game, 3)
    mu[1, 0, 0] = torch.nan
    with pytest.raises(UserError, match=r"^extension=kirszbraun: at populations ") as refused:
        induced_game(game, extension="kirszbraun").transition(mu)
    assert "\n" not in str(refused.value)


class Tides(TableGame):
    """The later, the more of the others' number matters."""

    time_dependent = True

    def __init__(self, n_agents=3):
        law = torch.tensor([0.5, 0.5])
        super().__init__(n_agents=n_agents, n_states=2, n_actions=2, horizon=3, initial_law=law)

    def transition_table(self, mu, personal, steps):
        out = ((steps + 1) / 4 * mu[..., 1, :].sum(-1) + 0.1 * personal * steps + 0.2)[..., None, None]
        out = out.expand(*out.shape[:-2], 2, 2)
        return torch.stack([1 - out, out], -1)

    def reward_table(self, mu, personal, steps):
        effort = torch.tensor([0.0, 0.3]).to(mu)
        return 1 - 0.7 * mu * (steps + 1) / 4 - effort + 0 * personal[..., None, None]


@pytest.mark.parametrize("extension", [None, "smooth"])
def test_steps_that_differ(random_policy, extension):
    game = Tides(4)
    induced, mu = induced_game(game, extension=extension), populations(game, 6)
    assert induced.time_dependent
    for h in range(3):
        assert torch.allclose(induced.transition_at(h, mu)[:, 0, 0, 1], (h + 1) / 4 * mu[:, 1].sum(-1) + 0.2)
    policy = tabular_policy(random_policy(0, 3, 2, 2))
    expected = mean_field_exploitability(game.mean_field_model(), policy).item()
    assert mean_field_exploitability(induced, policy).item() == pytest.approx(expected, abs=1e-9)


@pytest.fixture(params=[torch.float32, torch.float64])
def default_dtype(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


@pytest.mark.parametrize("kind", ["tables", "called", "steps"])
def test_mfglib_solves_and_scores_it_as_we_do(make_game, ring_of_neighbours, default_dtype, kind):
    from mfglib.alg import OnlineMirrorDescent
    from mfglib.scoring import exploitability_score

    induced = {
        "tables": lambda: induced_game(make_game("a_rps", n_agents=4, horizon=4)),
        "called": lambda: induced_game(ring_of_neighbours(4, horizon=2), depends_on="states"),
        "steps": lambda: induced_game(Tides()),
    }[kind]()
    environment = induced.to_mfglib()
    horizon, n_states, n_actions = induced.horizon, len(induced.initial_law), induced.n_actions
    sizes = environment.T, environment.S, environment.A
    assert sizes == (horizon - 1, (n_states,), (n_actions,))
    start = torch.full((horizon, n_states, n_actions), 1 / n_actions)
    algorithm = OnlineMirrorDescent(alpha=2.0)
    state = algorithm.init_state(environment, start)
    logits, tolerance = torch.zeros(start.shape).double(), 1e-5 if default_dtype == torch.float32 else 1e-10
    scores = []
    for _ in range(4):
        policy = state.pi
        assert policy.dtype == default_dtype
        ours = torch.softmax(logits, -1)
        assert torch.allclose(policy.double(), ours, atol=tolerance)
        score = mean_field_exploitability(induced, tabular_policy(ours)).item()
        assert exploitability_score(environment, policy) == pytest.approx(score, abs=10 * tolerance)
        logits = online_mirror_descent_step(induced, logits, step_size=2.0).logits
        scores.append(score)
        state = algorithm.step_next_state(state, None, None)
    assert min(scores) > 0.01
    assert (ours - 1 / n_actions).abs().max() > 0.05


def test_mfglib_gets_tables_in_the_type_it_asks_in(make_game):
    game = make_game("a_sis", n_agents=4)
    environment = induced_game(game).to_mfglib(dtype=torch.float64)
    mu = populations(game, 3)[1]
    prob = environment.prob(0, mu)
    assert (environment.mu0.dtype, prob.dtype) == (torch.float64, torch.float64)
    assert torch.allclose(prob.sum(0), torch.ones(2, 2).double())
    assert torch.equal(prob.permute(1, 2, 0), induced_game(game).transition(mu))
    assert environment.reward(0, mu.float()).dtype == torch.float32


def test_without_mfglib_it_says_which_extra(make_game, monkeypatch):
    monkeypatch.setitem(sys.modules, "mfglib", None)
    monkeypatch.setitem(sys.modules, "mfglib.env", None)
    with pytest.raises(UserError, match=r"to_mfglib: .*pip install 'mf-pmd\[mfglib\]'"):
        induced_game(make_game("a_sis", n_agents=3)).to_mfglib()


def test_a_changed_copy_is_still_of_its_game(make_game):
    longer = induced_game(make_game("a_rps", n_agents=3, horizon=4))._replace(horizon=7)
    assert (longer.to_mfglib().T, longer.to_mfglib().A) == (6, (3,))


def test_a_flow_walks_it(make_game):
    game = make_game("a_sis", n_agents=3, horizon=5)
    flow = mean_field_flow(induced_game(game), uniform_policy(2, 2))
    assert torch.allclose(flow.mu.sum((1, 2)), torch.ones(5).double())
