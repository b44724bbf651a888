"""Games that are their tables, and populations that count the agent itself, against agent-by-agent loops."""

import pytest
import torch

from mf_pmd import games
from mf_pmd.errors import UserError
from mf_pmd.games.base import PopulationGame, Step

KEYS = sorted(
    key
    for key, game in games.REGISTRY.items()
    if issubclass(game, PopulationGame) and not game.random_rewards  # those are test_taxi_lite's
)
SMALL = {"horizon": 2, "n_agents": 5}


class Mirror(games.TableGame):
    """Another game's tables, sampled from the tables."""

    def __init__(self, game):
        self.game = game
        super().__init__(
            n_agents=game.n_agents,
            n_states=game.n_states,
            n_actions=game.n_actions,
            horizon=game.horizon,
            initial_law=game.initial_law,
            population=game.population,
            personal=game.personal,
            seed=7,
        )

    def transition_table(self, mu, personal):
        return self.game.transition_table(mu, personal)

    def reward_table(self, mu, personal):
        return self.game.reward_table(mu, personal)


class Imitators(games.TableGame):
    """Kernels that read the others' actions: the next state is 1 with the share of those who do as I do."""

    def __init__(self, **sizes):
        super().__init__(n_states=2, n_actions=2, horizon=3, initial_law=torch.tensor([0.5, 0.5]), **sizes)

    def transition_table(self, mu, personal):
        alike = mu.sum(-2)  # [..., A]
        law = torch.stack([1 - alike, alike], -1)  # [..., A, S]
        return law.unsqueeze(-3).expand(*mu.shape, 2)

    def reward_table(self, mu, personal):
        return (personal[..., None, None] + 2) / 4 * mu


class Wanderers(PopulationGame):
    """Nothing but a sampler."""

    def __init__(self):
        super().__init__(n_agents=3, n_states=2, n_actions=2, horizon=2, initial_law=torch.tensor([0.5, 0.5]))

    def sample_step(self, states, actions, others):
        return Step(1 - states, torch.ones_like(states).float())


def met_by(game, states, actions, i):
    """What agent i meets in one episode, [S, A], counted one agent after the other."""
    mu = torch.zeros(game.n_states, game.n_actions, dtype=torch.float64)
    met = [j for j in range(game.n_agents) if j != i or game.population == "all"]
    for j in met:
        mu[states[j], actions[j]] += 1 / len(met)
    return mu


def assert_follows_its_tables(game, assert_laws, *, seed=0, repeats=4000):
    """From one joint cell: rewards to rounding, next states by chi-square, each agent at what it meets."""
    random = torch.Generator().manual_seed(seed)
    states = torch.randint(game.n_states, (game.n_agents,), generator=random)
    actions = torch.randint(game.n_actions, (game.n_agents,), generator=random)
    step = game.step(states.expand(repeats, -1), actions.expand(repeats, -1))
    assert step.next_states.dtype == torch.int64
    assert step.rewards.dtype == torch.float32
    laws = []
    for i in range(game.n_agents):
        mu, u = met_by(game, states, actions, i), game.personal[i].double()
        laws.append(game.transition_table(mu, u)[states[i], actions[i]])
        reward = game.reward_table(mu, u)[states[i], actions[i]].item()
        assert step.rewards[:, i].tolist() == pytest.approx([reward] * repeats, abs=1e-6)
    counts = torch.nn.functional.one_hot(step.next_states, game.n_states).sum(0)
    assert_laws(counts, torch.stack(laws))


@pytest.mark.parametrize("population", ["others", "all"])
@pytest.mark.parametrize("key", KEYS)
def test_every_game_and_its_tables_play_alike(make_game, assert_laws, key, population):
    changes = {"eps": 0.2, "noise": 0.3} if key == "a_beach" else {"eps": 0.2}
    game = make_game(key, population=population, **SMALL, **changes)
    for seed in range(3):
        assert_follows_its_tables(game, assert_laws, seed=seed)
        assert_follows_its_tables(Mirror(game), assert_laws, seed=seed)


@pytest.mark.parametrize("population", ["others", "all"])
def test_kernels_may_read_the_others_actions(assert_laws, population):
    personal = torch.tensor([0.3, -1.0, 0.7, 0.3, 1.0, 0.25])
    for seed in range(4):
        game = Imitators(n_agents=6, population=population, personal=personal)
        assert_follows_its_tables(game, assert_laws, seed=seed)


def test_tables_are_made_in_pieces_where_they_are_large(make_game, monkeypatch):
    game = make_game("a_beach", **SMALL)
    whole, pieces = Mirror(game), Mirror(game)
    states, actions = torch.randint(10, (4, 5)), torch.randint(3, (4, 5))
    expected = whole.step(states, actions)
    monkeypatch.setattr("mf_pmd.games.base.ENTRIES_AT_ONCE", 1)
    found = pieces.step(states, actions)
    assert torch.equal(found.next_states, expected.next_states)
    assert torch.equal(found.rewards, expected.rewards)


def test_counting_oneself_widens_alpha_and_beta_by_the_lipschitz_constants(make_game):
    for key in KEYS:
        others, everyone = (make_game(key, n_agents=8, population=p).constants for p in ("others", "all"))
        assert everyone.alpha == pytest.approx(others.alpha + others.lipschitz_transition / 4)
        assert everyone.beta == pytest.approx(others.beta + others.lipschitz_reward / 4)
        assert everyone[2:] == others[2:]


def test_counting_oneself_moves_the_kernels_by_no_more_than_that(make_game, lattice):
    # for symmetric games alpha and beta are then the whole of it, and the largest move is attained
    flat = {"a_sis": {"eps": 0.0, "eps_beta": 0.0}, "a_rps": {"eps": 0.0}}
    flat["a_beach"] = {"eps": 0.0, "eps_beta": 0.0, "n_sites": 3}
    zero = torch.zeros((), dtype=torch.float64)
    for key, changes in flat.items():
        game = make_game(key, n_agents=4, population="all", **changes)
        alpha = beta = 0.0
        for mu in lattice(3, game.n_states, game.n_actions):
            law, reward = game.transition_table(mu, zero), game.reward_table(mu, zero)
            for s in range(game.n_states):
                for a in range(game.n_actions):
                    counted = 3 * mu
                    counted[s, a] += 1
                    alone = game.transition_table(counted / 4, zero)[s, a]
                    alpha = max(alpha, (alone - law[s, a]).abs().sum().item())
                    gap = game.reward_table(counted / 4, zero)[s, a] - reward[s, a]
                    beta = max(beta, gap.abs().item())
        assert alpha <= game.constants.alpha + 1e-12
        assert beta <= game.constants.beta + 1e-12
        assert max(alpha, beta) > 0


def test_whom_an_agent_meets_is_one_of_two(make_game):
    with pytest.raises(UserError, match=r"env_args.population=both: choose others or all"):
        make_game("a_sis", population="both")


def test_a_game_without_tables_plays_and_says_what_it_cannot(make_game):
    game = Wanderers()
    assert not game.has_tables
    assert all(make_game(key).has_tables for key in KEYS)
    assert game.step(torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 3, dtype=torch.long))
    mu = torch.full((2, 2), 0.25)
    for ask in (game.mean_field_model, lambda: game.reward_table(mu, mu[0, 0])):
        with pytest.raises(UserError, match="Wanderers gives no tables"):
            ask()


def test_the_number_of_personal_parameters_is_that_of_the_agents():
    with pytest.raises(UserError, match=r"n_agents=6: u has shape \[5\]"):
        Imitators(n_agents=6, personal=torch.zeros(5))
