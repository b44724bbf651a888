"""The N-player score: the agent itself left out by hand, and exact enumeration of a tiny game."""

import itertools

import numpy as np
import pytest
import torch

from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import uniform_policy
from mf_pmd.runners.deviations import DeviationScore


def play(game, policy, n_episodes):
    """The score of episodes in which all agents play a table [H, S, A]."""
    score = DeviationScore(game)
    states = game.reset(n_episodes)
    for h in range(game.horizon):
        rows = policy[h][states]  # [B, N, A]
        actions = torch.multinomial(rows.reshape(-1, game.n_actions), 1).reshape(states.shape)
        score.add_actions(h, states, actions)
        states = game.step(states, actions).next_states
    return score


def uniform(game):
    return torch.full((game.horizon, game.n_states, game.n_actions), 1.0 / game.n_actions)


def joint_steps(game):
    """Of every joint state and action of a tiny game: agents' next laws and the rewards, by tables."""
    n_agents, n_states, n_actions = game.n_agents, game.n_states, game.n_actions
    laws, rewards = {}, {}
    for states in itertools.product(range(n_states), repeat=n_agents):
        for actions in itertools.product(range(n_actions), repeat=n_agents):
            counts = np.zeros((n_states, n_actions))
            for s, a in zip(states, actions, strict=True):
                counts[s, a] += 1
            law, pay = [], []
            for i, (s, a) in enumerate(zip(states, actions, strict=True)):
                others = counts.copy()
                others[s, a] -= 1
                mu = torch.tensor(others / (n_agents - 1))
                u = game.personal[i].double()
                law.append(game.transition_table(mu, u)[s, a].numpy())
                pay.append(float(game.reward_table(mu, u)[s, a]))
            laws[states, actions], rewards[states, actions] = law, pay
    return laws, rewards


def exact_return(game, steps, agent, own, policy):
    """J^i of one agent that plays ``own`` [H, S, A] while the others play ``policy``; no sampling."""
    laws, rewards = steps
    rho0 = game.initial_law.numpy()
    joint = {
        states: float(np.prod(rho0[list(states)]))
        for states in itertools.product(range(game.n_states), repeat=game.n_agents)
    }
    total = 0.0
    for h in range(game.horizon):
        following = dict.fromkeys(joint, 0.0)
        for states, chance in joint.items():
            for actions in itertools.product(range(game.n_actions), repeat=game.n_agents):
                weight = chance
                for i, (s, a) in enumerate(zip(states, actions, strict=True)):
                    weight *= float((own if i == agent else policy)[h, s, a])
                if weight == 0.0:
                    continue
                total += weight * rewards[states, actions][agent]
                if h + 1 < game.horizon:
                    outer = np.ones(())
                    for law in laws[states, actions]:
                        outer = np.multiply.outer(outer, law)
                    for after in following:
                        following[after] += weight * outer[after]
        joint = following
    return total


def exact_exploitability(game, policy, agent):
    """E^i by enumeration of the agent's deterministic policies."""
    steps = joint_steps(game)
    cells = game.horizon * game.n_states
    values = []
    for choice in itertools.product(range(game.n_actions), repeat=cells):
        actions = torch.tensor(choice).reshape(game.horizon, game.n_states)
        own = torch.nn.functional.one_hot(actions, game.n_actions).double()
        values.append(exact_return(game, steps, agent, own, policy))
    return max(values) - exact_return(game, steps, agent, policy, policy)


def test_the_agent_itself_is_left_out(make_game):
    game = make_game("a_sis", n_agents=4, horizon=1)
    score = DeviationScore(game)
    states = torch.tensor([[0, 1, 1, 0]])
    actions = torch.tensor([[1, 0, 0, 1]])
    counts = score.add_actions(0, states, actions)
    assert counts[0].tolist() == [[0, 2], [2, 0]]
    assert score.personal.tolist() == [-1.0, 1.0]
    for g, agent in enumerate(score.reference[0].tolist()):
        assert game.personal[agent] == score.personal[g]
        left = counts[0].clone()
        left[states[0, agent], actions[0, agent]] -= 1
        assert torch.equal(score.met[0][0][0, g], left / 3)


def test_every_agent_of_a_type_can_be_the_reference(make_game):
    game = make_game("a_sis", n_agents=6, horizon=1)
    drawn = DeviationScore(game).draw_reference(600)
    assert set(drawn[:, 0].tolist()) == {3, 4, 5}  # u = -1
    assert set(drawn[:, 1].tolist()) == {0, 1, 2}


def test_few_episodes_give_no_score(make_game):
    game = make_game("a_sis", n_agents=4, horizon=2)
    assert play(game, uniform(game), 3).scores() == {}


def test_a_symmetric_game_of_many_agents_scores_as_its_mean_field_game(make_game):
    torch.manual_seed(0)
    game = make_game("a_sis", n_agents=3000, eps=0.0, eps_beta=0.0, seed=1)
    scores = play(game, uniform(game), 40).scores()
    truth = mean_field_exploitability(game.mean_field_model(), uniform_policy(2, 2)).item()
    assert scores["exploitability_mean_lower"] <= truth <= scores["exploitability_mean_upper"] + 0.01
    assert scores["exploitability_mean"] == pytest.approx(truth, abs=0.03)
    assert scores["exploitability_max"] == pytest.approx(truth, abs=0.03)
    assert scores["exploitability_too_weak"] == 0.0


def test_the_mean_weighs_types_by_their_agents(make_game):
    torch.manual_seed(0)
    game = make_game("a_sis", n_agents=5, horizon=3)  # u = 1, 1, -1, -1, 0
    score = play(game, uniform(game), 200)
    estimates = [bracket.estimate for bracket in score.brackets()]
    scores = score.scores()
    assert score.sizes.tolist() == [2, 1, 2]
    assert scores["exploitability_mean"] == pytest.approx(
        (2 * estimates[0] + estimates[1] + 2 * estimates[2]) / 5
    )
    assert scores["exploitability_max"] == pytest.approx(max(estimates))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_against_exact_enumeration(make_game, seed):
    # frozen flows do not answer the deviator: O(1 / N) apart from the truth, here at most H / (2 N) of it
    torch.manual_seed(seed)
    game = make_game("a_sis", n_agents=4, horizon=2, eps=0.2, eps_beta=0.5, seed=seed)
    policy = torch.softmax(torch.randn(2, 2, 2), -1)
    score = play(game, policy, 2000)
    slack = game.horizon / (2 * game.n_agents)
    for g, bracket in enumerate(score.brackets()):
        agent = int((score.type_of == g).nonzero()[0])
        truth = exact_exploitability(game, policy.double(), agent)
        assert bracket.lower - slack <= truth <= bracket.upper + slack
        assert abs(bracket.estimate - truth) < 0.1
