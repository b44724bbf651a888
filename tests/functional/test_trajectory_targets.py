"""Targets along trajectories: by hand, over all trajectories of a problem, and beside the cells' sweep."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.functional.cells import cell_statistics
from mf_pmd.functional.td_targets import sweep_backwards
from mf_pmd.functional.trajectory_targets import trajectory_targets

S, A = 2, 2


def random_numbers(seed):
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    return normal


def everywhere(*shape):
    """Nobody is absent and no episode ends early: [B, T, N]."""
    return {"played": torch.ones(shape[:2]).bool(), "present": torch.ones(shape).bool()}


def looked_up(table, states, actions=None):
    """Entries of a table [T, S, ...] at states [B, T, N] (and actions)."""
    steps = torch.arange(states.shape[1]).view(1, -1, 1)
    return table[steps, states] if actions is None else table[steps, states, actions]


def entropies_of(policy):
    return -(policy * policy.log()).sum(-1)


def exact_q(horizon, transition, reward, policy, tau):
    """Def. 10 by loops."""
    q = torch.zeros(horizon + 1, S, A, dtype=torch.float64)
    for h in reversed(range(horizon)):
        for s, a in itertools.product(range(S), range(A)):
            q[h, s, a] = reward[h, s, a] - tau * sum(p * math.log(p) for p in policy[h, s].tolist())
            for t in range(S):
                if h + 1 < horizon:
                    q[h, s, a] += transition[h, s, a, t] * (policy[h + 1, t] * q[h + 1, t]).sum()
    return q[:-1]


def all_trajectories(horizon, initial, transition, policy):
    """Every path (s_0, a_0, ..., a_{H-1}) as an agent, and its probability [N]."""
    paths = list(itertools.product(*[range(S), range(A)] * horizon))
    states = torch.tensor([path[0::2] for path in paths]).T.unsqueeze(0)  # [1, T, N]
    actions = torch.tensor([path[1::2] for path in paths]).T.unsqueeze(0)
    weight = initial[states[0, 0]].clone()
    for h in range(horizon):
        weight *= policy[h][states[0, h], actions[0, h]]
        if h + 1 < horizon:
            weight *= transition[h][states[0, h], actions[0, h], states[0, h + 1]]
    return states, actions, weight


def conditional_means(targets, states, actions, weight):
    """E[G_h | s, a], [T, S, A]."""
    means = torch.zeros(states.shape[1], S, A, dtype=torch.float64)
    for h, s, a in itertools.product(range(states.shape[1]), range(S), range(A)):
        here = (states[0, h] == s) & (actions[0, h] == a)
        means[h, s, a] = (weight * targets[0, h])[here].sum() / weight[here].sum()
    return means


def problem(seed, horizon=3):
    """A decision problem with random kernels, all of whose trajectories are followed; and a random critic."""
    normal = random_numbers(seed)
    transition = torch.softmax(normal(horizon, S, A, S), -1)
    policy = torch.softmax(normal(horizon, S, A), -1)
    reward = normal(horizon, S, A)
    paths = all_trajectories(horizon, torch.softmax(normal(S), -1), transition, policy)
    return transition, reward, policy, paths, normal(horizon, S, A)


@pytest.mark.parametrize("expected", [True, False])
@given(seed=st.integers(0, 10**6), tau=st.sampled_from([0.0, 0.3]))
def test_lambda_one_is_unbiased_whatever_the_critic(expected, seed, tau):
    transition, reward, policy, (states, actions, weight), critic = problem(seed)
    assert weight.sum().item() == pytest.approx(1)
    taken = looked_up(critic, states, actions)
    values = looked_up((policy * critic).sum(-1), states) if expected else taken
    targets = trajectory_targets(
        looked_up(reward, states, actions),
        looked_up(entropies_of(policy), states),
        taken,
        values,
        **everywhere(*states.shape),
        tau=tau,
        lam=1.0,
    )
    means = conditional_means(targets, states, actions, weight)
    assert torch.allclose(means, exact_q(3, transition, reward, policy, tau), atol=1e-10)


@pytest.mark.parametrize("expected", [True, False])
@pytest.mark.parametrize("lam", [0.0, 0.4, 1.0])
def test_the_exact_critic_is_the_fixed_point_whatever_lambda(expected, lam):
    transition, reward, policy, (states, actions, weight), _ = problem(3)
    exact = exact_q(3, transition, reward, policy, 0.2)
    taken = looked_up(exact, states, actions)
    values = looked_up((policy * exact).sum(-1), states) if expected else taken
    targets = trajectory_targets(
        looked_up(reward, states, actions),
        looked_up(entropies_of(policy), states),
        taken,
        values,
        **everywhere(*states.shape),
        tau=0.2,
        lam=lam,
    )
    assert torch.allclose(conditional_means(targets, states, actions, weight), exact, atol=1e-10)


def test_the_control_variate_lowers_the_variance():
    transition, reward, policy, (states, actions, weight), _ = problem(4)
    exact = exact_q(3, transition, reward, policy, 0.0)
    taken = looked_up(exact, states, actions)
    spreads = []
    for values in (looked_up((policy * exact).sum(-1), states), taken):
        targets = trajectory_targets(
            looked_up(reward, states, actions),
            torch.zeros_like(taken),
            taken,
            values,
            **everywhere(*states.shape),
            tau=0.0,
            lam=1.0,
        )
        error = targets - taken
        spreads.append((weight * error[0, 0].square()).sum().item())
    assert spreads[0] < 0.9 * spreads[1]


def numbered_play(seed, n_agents, merge):
    """Random trajectories of numbered states; without ``merge`` no two agents ever share one."""
    random = torch.Generator().manual_seed(seed)
    shape, n_states = (2, 4, n_agents), 3 if merge else n_agents
    if merge:
        states = torch.randint(n_states, (2, 5, n_agents), generator=random)
    else:
        states = torch.rand(2, 5, n_agents, generator=random).argsort(-1)
    actions = torch.randint(A, shape, generator=random)
    normal = random_numbers(seed)
    policy = torch.softmax(normal(1, 4, n_states, A), -1)
    return states, actions, normal(*shape), policy, normal(2, 4, n_states, A)


def at_agents(table, states, actions=None):
    """Entries of [B or 1, T, S, ...] where agents are: states [B, T, N]."""
    table = table.expand(states.shape[0], *table.shape[1:])
    index = torch.meshgrid(*[torch.arange(n) for n in states.shape], indexing="ij")
    return (
        table[index[0], index[1], states] if actions is None else table[index[0], index[1], states, actions]
    )


@pytest.mark.parametrize(
    ("merge", "expected", "lam"),
    [(True, True, 0.0), (True, False, 0.0), (False, False, 0.3), (False, False, 1.0)],
    ids=["expected, one step", "sarsa, one step", "sarsa, lambda .3", "sarsa, lambda 1"],
)
@pytest.mark.parametrize("seed", range(3))
def test_means_over_cells_are_the_sweep_of_the_cells(seed, merge, expected, lam):
    """Bootstrapping after one step, or where no two paths meet, counting first loses nothing."""
    states, actions, rewards, policy, critic = numbered_play(seed, 7, merge)
    n_states = critic.shape[2]
    statistics = cell_statistics(
        states,
        actions,
        rewards,
        n_states=n_states,
        n_actions=A,
        count_next_cells=True,
        dtype=torch.float64,
    )
    swept = sweep_backwards(statistics, policy.log(), tau=0.2, expected=expected, fallback=critic, lam=lam)
    visited = states[:, :-1]
    taken = at_agents(critic, visited, actions)
    values = at_agents((policy * critic).sum(-1), visited) if expected else taken
    targets = trajectory_targets(
        rewards,
        at_agents(entropies_of(policy), visited),
        taken,
        values,
        **everywhere(*visited.shape),
        tau=0.2,
        lam=lam,
    )
    cells = visited * A + actions
    sums = torch.zeros(2, 4, n_states * A, dtype=torch.float64).scatter_add_(2, cells, targets)
    means = sums.unflatten(-1, (n_states, A)) / statistics.visits.clamp(min=1)
    assert torch.allclose(means, torch.where(swept.visited, swept.q_values, 0.0), atol=1e-10)


def test_by_hand():
    # rewards 1, 2, 4; entropies .5, tau 2: each step earns 1 more; Q = 10, V = 20 at all steps
    rewards = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1)
    parts = (
        rewards,
        torch.full_like(rewards, 0.5),
        torch.full_like(rewards, 10.0),
        torch.full_like(rewards, 20.0),
    )

    def targets(lam, **changes):
        masks = everywhere(1, 3, 1) | changes
        return trajectory_targets(*parts, **masks, tau=2.0, lam=lam)[0, :, 0].tolist()

    assert targets(0.0) == [22.0, 23.0, 5.0]
    # 5; 3 + 20 + (5 - 10) = 18; 2 + 20 + (18 - 10) = 30
    assert targets(1.0) == [30.0, 18.0, 5.0]
    # 5; 3 + 20 - 2.5 = 20.5; 2 + 20 + 5.25
    assert targets(0.5) == [27.25, 20.5, 5.0]
    # the episode is over after two steps: 3; 2 + 20 + (3 - 10)
    assert targets(1.0, played=torch.tensor([[True, True, False]])) == [15.0, 3.0, 0.0]
    # absent in the middle: it earns 2 there, and the first step looks through to 2 + 20 + (5 - 10)
    assert targets(1.0, present=torch.tensor([True, False, True]).view(1, 3, 1)) == [19.0, 17.0, 5.0]
    assert targets(0.0, present=torch.tensor([True, False, True]).view(1, 3, 1)) == [24.0, 22.0, 5.0]


def test_agents_and_episodes_do_not_mix():
    normal = random_numbers(0)
    parts = [normal(3, 5, 4) for _ in range(4)]
    masks = {
        "played": torch.tensor([5, 2, 4]).unsqueeze(1) > torch.arange(5),
        "present": normal(3, 5, 4) > -1,
    }
    whole = trajectory_targets(*parts, **masks, tau=0.3, lam=0.7)
    for b, i in itertools.product(range(3), range(4)):
        alone = trajectory_targets(
            *(part[b : b + 1, :, i : i + 1] for part in parts),
            played=masks["played"][b : b + 1],
            present=masks["present"][b : b + 1, :, i : i + 1],
            tau=0.3,
            lam=0.7,
        )
        assert torch.allclose(whole[b, :, i], alone[0, :, 0])
    assert whole[1, 2:].abs().sum() == 0
