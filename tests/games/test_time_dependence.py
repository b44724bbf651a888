"""Games whose kernels depend on the step: tables, sampler, flows, scores and the check look at one clock."""

import itertools
from pathlib import Path

import pytest
import torch

from mf_pmd import games
from mf_pmd.envs.population_env import PopulationEnv
from mf_pmd.errors import UserError
from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import MeanFieldModel, mean_field_flow, tabular_policy
from mf_pmd.functional.online_mirror_descent import online_mirror_descent_step

SOURCE = '''
import torch
from mf_pmd import games

class Tides(games.TableGame):
    """The water comes in: at step h it carries away more of those who swim, and pays them more."""

    time_dependent = True

    def __init__(self, *, n_agents, horizon, population, device="cpu", seed=0):
        self.told = []
        super().__init__(n_agents=n_agents, n_states=2, n_actions=2, horizon=horizon, population=population,
                         initial_law=torch.tensor([0.5, 0.5]), device=device, seed=seed)

    def transition_table(self, mu, personal, steps):
        self.told.append(steps)
        late = steps / self.horizon
        carried = (0.1 + 0.2 * late) * mu[..., 1, :].sum(-1) + 0.05 * personal * late
        out = torch.stack([0.1 + 0 * carried, 0.2 + carried], -1).unsqueeze(-2).expand(*carried.shape, 2, 2)
        return torch.stack([1 - out, out], -1).to(mu.dtype)

    def reward_table(self, mu, personal, steps):
        swims = (steps + 1) / self.horizon * (1 - mu[..., :, 1].sum(-1)) + 0 * personal
        return torch.stack([0.5 + 0 * swims, swims], -1).unsqueeze(-2).expand(*swims.shape, 2, 2).to(mu.dtype)
'''


EXAMPLE = Path(__file__).parents[2] / "examples" / "crowded_library.yaml"


@pytest.fixture(scope="module")
def tides(tmp_path_factory):
    """The class above, from a file, as an author would have it."""
    path = tmp_path_factory.mktemp("games") / "tides.py"
    path.write_text(SOURCE)
    return f"{path}:Tides"


@pytest.fixture
def make_tides(tides):
    def make(*, n_agents=4, horizon=3, population="others", seed=0):
        return games.make(tides, n_agents=n_agents, horizon=horizon, population=population, seed=seed)

    return make


def tables(game, h, mu, u=0.0):
    """Both tables of one step at one population."""
    steps, u = torch.tensor(h), torch.tensor(u).double()
    return game.transition_table(mu, u, steps), game.reward_table(mu, u, steps)


def test_the_model_walks_with_the_clock(make_tides, random_policy):
    game, policy = make_tides(), random_policy(0, 3, 2, 2)
    flow = mean_field_flow(game.mean_field_model(), tabular_policy(policy))
    nu = game.initial_law
    for h in range(3):
        mu = nu.unsqueeze(-1) * policy[h]
        law, reward = tables(game, h, mu)
        assert torch.equal(flow.transition[h], law)
        assert torch.equal(flow.reward[h], reward)
        nu = torch.einsum("sa,sat->t", mu, law)
    assert not torch.allclose(flow.reward[0], flow.reward[2])


def test_exploitability_is_that_of_all_deterministic_deviations(make_tides, random_policy):
    game, policy = make_tides(horizon=2), random_policy(1, 2, 2, 2)
    model = game.mean_field_model()
    flow = mean_field_flow(model, tabular_policy(policy))
    best = -torch.inf
    for choice in itertools.product(range(2), repeat=4):
        own = torch.nn.functional.one_hot(torch.tensor(choice).reshape(2, 2), 2).double()
        value = torch.zeros(2).double()
        for h in (1, 0):
            value = (own[h] * (flow.reward[h] + flow.transition[h] @ value)).sum(-1)
        best = max(best, (value @ game.initial_law).item())
    expected = best - (flow.mu * flow.reward).sum().item()
    assert mean_field_exploitability(model, tabular_policy(policy)).item() == pytest.approx(expected)


def test_oracles_solve_it(make_tides):
    model = make_tides().mean_field_model()
    logits = torch.zeros(3, 2, 2, dtype=torch.float64)
    for _ in range(400):
        logits = online_mirror_descent_step(model, logits, step_size=0.3).logits
    policy = torch.softmax(logits, -1)
    assert mean_field_exploitability(model, tabular_policy(policy)) < 0.01
    assert (policy[0] - policy[2]).abs().max() > 0.3  # one table would not do


def test_a_model_says_which_of_the_two_it_is():
    law, start = torch.full((1, 1, 1), 1.0), torch.ones(1)
    still = MeanFieldModel(start, 3, lambda mu: law, lambda mu: mu)
    moving = MeanFieldModel(start, 3, lambda mu, h: law, lambda mu, h: h * mu, time_dependent=True)
    for model, due in ((still, [1.0, 1.0, 1.0]), (moving, [0.0, 1.0, 2.0])):
        assert mean_field_flow(model, lambda h, nu: law[0]).reward.flatten().tolist() == due
        assert torch.equal(model.transition_at(2, law[0]), law)


@pytest.mark.parametrize("population", ["others", "all"])
def test_every_step_samples_its_own_tables(make_tides, assert_laws, population):
    game = make_tides(n_agents=5, population=population)
    states, actions = torch.tensor([[0, 1, 1, 0, 1]]), torch.tensor([[1, 1, 0, 0, 1]])
    for h in range(3):
        step = game.step(states.expand(4000, -1), actions.expand(4000, -1), h)
        laws = []
        for i in range(5):
            mu = torch.zeros(2, 2, dtype=torch.float64)
            met = [j for j in range(5) if j != i or population == "all"]
            for j in met:
                mu[states[0, j], actions[0, j]] += 1 / len(met)
            law, reward = tables(game, h, mu, game.personal[i].item())
            cell = (states[0, i], actions[0, i])
            laws.append(law[cell])
            assert step.rewards[:, i].tolist() == pytest.approx([reward[cell].item()] * 4000, abs=1e-6)
        assert_laws(torch.nn.functional.one_hot(step.next_states, 2).sum(0), torch.stack(laws))


def test_the_check_looks_at_every_step(make_tides, monkeypatch):
    game = make_tides(n_agents=5, horizon=7)
    game.told.clear()
    report = games.check_game(game, draws=2000)
    report.raise_if_failed()
    told = torch.cat([steps.flatten() for steps in game.told])
    assert set(told.tolist()) == set(range(7))
    right = type(game).step
    late = lambda self, states, actions, h=0: right(self, states, actions, min(h, self.horizon - 2))  # noqa: E731
    monkeypatch.setattr(type(game), "step", late)
    wrong = games.check_game(game, draws=2000).failures
    assert wrong
    assert all(finding.message.startswith("at step 6: ") for finding in wrong)


def test_a_table_that_mixes_up_a_batch_of_steps_is_refused(tides, make_tides, monkeypatch):
    game = make_tides()
    right = type(game).reward_table
    first = lambda self, mu, u, steps: right(self, mu, u, steps.flatten()[0])  # noqa: E731
    found = games.own_game.load_game  # a file is read anew: the class that is made must be the one changed
    monkeypatch.setattr(type(game), "reward_table", first)
    monkeypatch.setattr(games, "find_game", lambda key: type(game) if key == tides else found(key))
    with pytest.raises(UserError, match="reward_table of many steps differs from that of step 1 alone"):
        make_tides()


def test_the_env_tells_the_game_which_step_it_is(tides):
    env = PopulationEnv(key=tides, n_agents=3, horizon=3, population="others", seed=1)
    for _ in range(3):
        env.step([1, 1, 1])
    told = [int(steps.max()) for steps in env.game.told[-6:]]
    assert sorted(set(told)) == [0, 1, 2]


def test_a_run_learns_and_scores_it(build, tides, tmp_path):
    text = EXAMPLE.read_text().replace("crowded_library.py:CrowdedLibrary", tides)
    text = text.replace("horizon: 10", "horizon: 3").replace("n_agents: 1000", "n_agents: 50")
    path = tmp_path / "tides.yaml"
    path.write_text("\n".join(line for line in text.splitlines() if "spread:" not in line))
    found = build("mf_pmd_tabular", str(path), "t_max=90", "test_nepisode=10")
    game = found.runner.game
    game.told.clear()
    batch = found.runner.run()
    assert [int(steps) for steps in game.told] == [0, 1, 2]
    for _ in range(10):
        found.learner.train(batch, found.runner.t_env, 0)
        batch = found.runner.run()
    found.runner.run(test_mode=True)
    logged = found.runner.logger
    learnt = logged.last("test_mean_field_exploitability")
    assert learnt < logged.last("uniform_mean_field_exploitability")
