"""Tables and samplers of every game against agent-by-agent loops: at N = 3, every joint state and action."""

import itertools

import pytest
import torch

SMALL = {
    "a_sis": {"horizon": 2, "eps_recovery": 0.5},
    "a_rps": {"horizon": 2},
    "a_beach": {"horizon": 2, "n_sites": 4},
}


@pytest.fixture(params=sorted(SMALL))
def key(request):
    return request.param


def joint_cells(game, n_agents):
    """Every joint state and every joint action, [B, N] each."""
    states = torch.tensor(list(itertools.product(range(game.n_states), repeat=n_agents)))
    actions = torch.tensor(list(itertools.product(range(game.n_actions), repeat=n_agents)))
    pairs = itertools.product(range(len(states)), range(len(actions)))
    index = torch.tensor(list(pairs))
    return states[index[:, 0]], actions[index[:, 1]]


def loops(game, kernel, states, actions):
    """Laws [B, N, S] and rewards [B, N], one agent after the other."""
    laws, rewards = [], []
    for row_s, row_a in zip(states.tolist(), actions.tolist(), strict=True):
        cells = list(zip(row_s, row_a, strict=True))
        for i, (s, a) in enumerate(cells):
            law, reward = kernel(game.personal[i].item(), s, a, cells[:i] + cells[i + 1 :])
            laws.append(law)
            rewards.append(reward)
    return (
        torch.tensor(laws, dtype=torch.float64).reshape(*states.shape, -1),
        torch.tensor(rewards, dtype=torch.float64).reshape(states.shape),
    )


@pytest.mark.parametrize("n_agents", [2, 3])
def test_sampled_rewards_leave_out_the_agent_itself(make_game, kernel_of, key, n_agents):
    game = make_game(key, n_agents=n_agents, **SMALL[key])
    states, actions = joint_cells(game, n_agents)
    _, expected = loops(game, kernel_of(game), states, actions)
    rewards = game.step(states, actions).rewards
    assert rewards.dtype == torch.float32
    assert (rewards.double() - expected).abs().max() < 1e-6


def test_sampled_transitions_leave_out_the_agent_itself(make_game, kernel_of, assert_laws, key):
    repeats = 600
    game = make_game(key, n_agents=3, seed=5, **SMALL[key])
    states, actions = joint_cells(game, 3)
    chosen = torch.randperm(len(states), generator=torch.Generator().manual_seed(0))[:120]
    states, actions = states[chosen], actions[chosen]
    laws, _ = loops(game, kernel_of(game), states, actions)
    next_states = game.step(states.repeat(repeats, 1), actions.repeat(repeats, 1)).next_states
    next_states = next_states.reshape(repeats, len(states), 3)
    counts = torch.nn.functional.one_hot(next_states, game.n_states).sum(0)
    assert_laws(counts.flatten(0, 1), laws.flatten(0, 1))


def test_agents_are_drawn_independently(make_game):
    game = make_game("a_sis", n_agents=2, eps=0.0, seed=3)
    infected = torch.ones(40_000, 2, dtype=torch.long)
    recovered = 1 - game.step(infected, torch.zeros_like(infected)).next_states.double()
    assert torch.corrcoef(recovered.T)[0, 1].abs() < 4 / 200
    assert torch.corrcoef(torch.stack([recovered[:-1, 0], recovered[1:, 0]]))[0, 1].abs() < 4 / 200


@pytest.mark.parametrize("n_others", [1, 2, 3])
def test_tables_are_the_definitions_on_the_lattice(make_game, kernel_of, lattice, key, n_others):
    small = {**SMALL[key], **({"n_sites": 3} if key == "a_beach" else {})}
    game = make_game(key, n_agents=n_others + 1, **small)
    kernel = kernel_of(game)
    cells = list(itertools.product(range(game.n_states), range(game.n_actions)))
    for mu in lattice(n_others, game.n_states, game.n_actions):
        others = [cell for cell in cells for _ in range(round(mu[cell].item() * n_others))]
        assert len(others) == n_others
        for u in (-1.0, 0.0, 1.0):
            personal = torch.tensor(u, dtype=torch.float64)
            law, reward = game.transition_table(mu, personal), game.reward_table(mu, personal)
            for s, a in cells:
                expected_law, expected_reward = kernel(u, s, a, others)
                assert law[s, a].tolist() == pytest.approx(expected_law, abs=1e-12)
                assert reward[s, a].item() == pytest.approx(expected_reward, abs=1e-12)


@pytest.mark.parametrize("n_agents", [10, 11])
def test_the_sampler_follows_the_tables_for_both_signs_of_u(make_game, assert_laws, key, n_agents):
    repeats = 20_000
    spread = {"eps": 0.2, "noise": 0.3} if key == "a_beach" else {"eps": 0.2}
    game = make_game(key, n_agents=n_agents, seed=1, **spread)
    random = torch.Generator().manual_seed(2)
    states = torch.randint(game.n_states, (n_agents,), generator=random)
    actions = torch.randint(game.n_actions, (n_agents,), generator=random)
    step = game.step(states.expand(repeats, -1), actions.expand(repeats, -1))
    counts = torch.nn.functional.one_hot(step.next_states, game.n_states).sum(0)
    laws = []
    for i in range(n_agents):
        mu = torch.zeros(game.n_states, game.n_actions, dtype=torch.float64)
        for j in range(n_agents):
            mu[states[j], actions[j]] += (j != i) / (n_agents - 1)
        u = game.personal[i].double()
        laws.append(game.transition_table(mu, u)[states[i], actions[i]])
        reward = game.reward_table(mu, u)[states[i], actions[i]].item()
        assert step.rewards[:, i].tolist() == pytest.approx([reward] * repeats, abs=1e-6)
    assert set(game.personal.tolist()) == {1.0, -1.0} | ({0.0} if n_agents % 2 else set())
    assert_laws(counts, torch.stack(laws))
