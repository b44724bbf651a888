"""Cell statistics against naive loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.functional import cells
from mf_pmd.functional.cells import CellStatistics, cell_statistics


def trajectories(seed, batch_size, horizon, n_agents, n_states, n_actions):
    random = np.random.default_rng(seed)
    states = torch.from_numpy(random.integers(n_states, size=(batch_size, horizon + 1, n_agents)))
    actions = torch.from_numpy(random.integers(n_actions, size=(batch_size, horizon + 1, n_agents)))
    return states, actions, torch.from_numpy(random.random((batch_size, horizon, n_agents)))


def naive(states, actions, rewards, n_states, n_actions, agents):
    batch_size, horizon, n_agents = rewards.shape
    shape = (batch_size, horizon, n_states, n_actions)
    visits, reward_sum = np.zeros(shape), np.zeros(shape)
    next_state, next_cell = np.zeros((*shape, n_states)), np.zeros((*shape, n_states, n_actions))
    state_count = np.zeros((batch_size, horizon, n_states))
    for b in range(batch_size):
        for t in range(horizon):
            for i in range(n_agents):
                s, a, s1 = states[b, t, i], actions[b, t, i], states[b, t + 1, i]
                state_count[b, t, s] += 1
                if i not in agents:
                    continue
                visits[b, t, s, a] += 1
                reward_sum[b, t, s, a] += rewards[b, t, i]
                next_state[b, t, s, a, s1] += 1
                if t + 1 < horizon:
                    next_cell[b, t, s, a, s1, actions[b, t + 1, i]] += 1
    return CellStatistics(visits, reward_sum, next_state, next_cell, state_count)


sizes = st.tuples(*(st.integers(1, most) for most in (3, 4, 5, 3, 3)))


@given(st.integers(0, 10**6), sizes, st.booleans(), st.booleans())
def test_equal_loops(seed, size, first_agent_only, count_next_cells):
    batch_size, horizon, n_agents, n_states, n_actions = size
    states, actions, rewards = trajectories(seed, *size)
    found = cell_statistics(
        states,
        actions,
        rewards,
        n_states=n_states,
        n_actions=n_actions,
        first_agent_only=first_agent_only,
        count_next_cells=count_next_cells,
        dtype=torch.float64,
    )
    agents = [0] if first_agent_only else range(n_agents)
    expected = naive(states, actions, rewards, n_states, n_actions, agents)
    for name in ("visits", "reward_sum", "next_state", "state_count"):
        value = getattr(found, name)
        assert value.shape == getattr(expected, name).shape, name
        assert value.numpy() == pytest.approx(getattr(expected, name), abs=1e-12), name
    if count_next_cells:
        assert found.next_cell.numpy() == pytest.approx(expected.next_cell)
        assert found.next_cell[:, -1].abs().sum() == 0
    else:
        assert found.next_cell is None
    assert (found.state_count.sum(-1) == n_agents).all()
    assert torch.allclose(found.population.sum(-1), torch.ones(batch_size, horizon, dtype=torch.float64))


def statistics(states, actions, rewards):
    sizes = {"n_states": 3, "n_actions": 2, "count_next_cells": True, "dtype": torch.float64}
    return cell_statistics(states, actions, rewards, **sizes)


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_groups_of_agents_add_up(seed, cut):
    states, actions, rewards = trajectories(seed, 2, 3, 7, 3, 2)
    whole = statistics(states, actions, rewards)
    first = statistics(states[..., :cut], actions[..., :cut], rewards[..., :cut])
    second = statistics(states[..., cut:], actions[..., cut:], rewards[..., cut:])
    for one, two, both in zip(first[:-1], second[:-1], whole[:-1], strict=True):
        assert torch.allclose(one + two, both)


@given(st.integers(0, 10**6))
def test_the_order_of_agents_does_not_matter(seed):
    states, actions, rewards = trajectories(seed, 2, 3, 7, 3, 2)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
    shuffled = statistics(states[..., order], actions[..., order], rewards[..., order])
    for one, two in zip(statistics(states, actions, rewards)[:-1], shuffled[:-1], strict=True):
        assert torch.allclose(one, two)


def test_episodes_and_their_sum():
    states, actions, rewards = trajectories(0, 3, 2, 5, 3, 2)
    whole = statistics(states, actions, rewards)
    pooled = whole.pooled()
    for index in range(3):
        alone = statistics(*(x[index : index + 1] for x in (states, actions, rewards)))
        for one, two in zip(whole.episode(index)[:-1], alone[:-1], strict=True):
            assert torch.equal(one, two)
    for field, total in zip(whole[:-1], pooled[:-1], strict=True):
        assert total.shape[0] == 1
        assert torch.allclose(total[0], field.sum(0))
    without = whole._replace(next_cell=None)
    assert without.pooled().next_cell is None
    assert without.episode(0).next_cell is None


def test_states_may_be_floats_and_sums_do_not_lose_small_rewards():
    # 1e5 agents of reward .1 in one cell: a float32 sum would drift by several units
    n_agents = 100_000
    found = cell_statistics(
        torch.zeros(1, 2, n_agents),
        torch.zeros(1, 2, n_agents, dtype=torch.int32),
        torch.full((1, 1, n_agents), 0.1),
        n_states=2,
        n_actions=2,
    )
    assert found.visits.dtype == torch.float32
    assert found.visits[0, 0].tolist() == [[n_agents, 0], [0, 0]]
    assert found.reward_sum[0, 0, 0, 0].item() == pytest.approx(n_agents * 0.1, abs=0.01)


def test_a_time_axis_that_does_not_fit_is_refused():
    with pytest.raises(AssertionError):
        statistics(torch.zeros(1, 2, 3), torch.zeros(1, 2, 3), torch.zeros(1, 2, 3))


def test_mostly_empty_cells_are_counted_as_full_ones_are(monkeypatch):
    random = torch.Generator().manual_seed(0)
    states = torch.randint(7, (3, 5, 20), generator=random)
    actions = torch.randint(2, (3, 4, 20), generator=random)
    rewards = torch.rand(3, 4, 20, generator=random)
    sizes = {"n_states": 7, "n_actions": 2, "count_next_cells": True}
    sparse = cell_statistics(states, actions, rewards, **sizes)
    monkeypatch.setattr("mf_pmd.functional.cells.EXACT_IN_FLOAT32", 0)
    dense = cell_statistics(states, actions, rewards, **sizes)
    for a, b in zip(sparse[:-1], dense[:-1], strict=True):
        assert torch.equal(a, b)
    assert sparse.next_state.sum() == 3 * 4 * 20
    assert torch.equal(sparse.visits, sparse.next_state.sum(-1))


def reference(states, actions, rewards, n_states, n_actions):
    """The plain formulation in int64: one ``bincount`` a table and step."""
    n_cells, episodes = n_states * n_actions, torch.arange(len(states)).unsqueeze(1)
    found = []
    for t in range(rewards.shape[1]):
        label = (episodes * n_cells + states[:, t].long() * n_actions + actions[:, t].long()).flatten()
        size = len(states) * n_cells
        following = label * n_states + states[:, t + 1].long().flatten()
        found.append(
            (
                torch.bincount(label, minlength=size),
                torch.bincount(label, rewards[:, t].flatten().double(), minlength=size),
                torch.bincount(following, minlength=size * n_states),
            )
        )
    shapes = ((n_states, n_actions),) * 2 + ((n_states, n_actions, n_states),)
    return [
        torch.stack([part.float().reshape(len(states), *shape) for part in parts], 1)
        for parts, shape in zip(zip(*found, strict=True), shapes, strict=True)
    ]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float32])
@pytest.mark.parametrize("at_once", [8, 2**16])
@pytest.mark.parametrize("n_agents", [3, 400])  # fewer and more than cells to go to
def test_any_type_and_parts_of_the_agents_give_the_same_sums(monkeypatch, dtype, at_once, n_agents):
    states, actions, rewards = trajectories(5, 3, 4, n_agents, 4, 3)
    rewards = rewards.float()
    expected = reference(states, actions, rewards, 4, 3)
    monkeypatch.setattr("mf_pmd.functional.cells.AGENTS_AT_ONCE", at_once)
    found = cell_statistics(states.to(dtype), actions.to(dtype), rewards, n_states=4, n_actions=3)
    for name, one, two in zip(CellStatistics._fields, found, expected, strict=False):
        assert torch.equal(one, two), name


@pytest.mark.parametrize("first_agent_only", [False, True])
@pytest.mark.parametrize("n_agents", [3, 2000])
def test_counting_never_waits_for_the_device(first_agent_only, n_agents):
    # a meta tensor has no values: whatever waits for one raises
    states = torch.empty(2, 4, n_agents, dtype=torch.uint8, device="meta")
    actions, rewards = states[:, :3], torch.empty(2, 3, n_agents, device="meta")
    sizes = {"n_states": 10, "n_actions": 3, "count_next_cells": True}
    found = cell_statistics(states, actions, rewards, first_agent_only=first_agent_only, **sizes)
    assert [tuple(field.shape) for field in found[:-1]] == [
        (2, 3, 10, 3),
        (2, 3, 10, 3),
        (2, 3, 10, 3, 10),
        (2, 3, 10, 3, 10, 3),
        (2, 3, 10),
    ]


@pytest.mark.parametrize("dense", [False, True])
def test_labels_that_small_integers_do_not_hold(monkeypatch, dense):
    # 2 x 130 x 130 = 33 800 numbers of episode and cell, beyond int16; 4.4 million with the next state
    states, actions, rewards = trajectories(6, 2, 2, 50, 130, 130)
    states[:, 0, 0] = states[:, 1, 0] = 129  # the last cell of all
    actions[:, :, 0] = 129
    expected = reference(states, actions, rewards, 130, 130)
    if dense:
        monkeypatch.setattr("mf_pmd.functional.cells.EXACT_IN_FLOAT32", 0)
    small = states.to(torch.uint8), actions.to(torch.uint8)
    found = cell_statistics(*small, rewards, n_states=130, n_actions=130)
    for name, one, two in zip(CellStatistics._fields, found, expected, strict=False):
        assert torch.equal(one, two), name
    assert found.next_state[1, 0, 129, 129, 129] >= 1


@pytest.mark.parametrize("pairs", [False, True])
def test_adding_up_tables_costs_no_more_than_counting(monkeypatch, pairs):
    states, actions, rewards = trajectories(7, 2, 3, 5000, 5, 3)
    labels, entries = [], []
    count_into = cells.count_into

    def watched(table, found):
        labels.append(found.numel())
        entries.append(len(table))
        count_into(table, found)

    monkeypatch.setattr(cells, "count_into", watched)
    monkeypatch.setattr(cells, "AGENTS_AT_ONCE", 16)
    sizes = {"n_states": 5, "n_actions": 3, "count_next_cells": pairs}
    cells.cell_statistics(states, actions, rewards, **sizes)
    assert len(labels) > 3 * (1 + pairs)  # agents came in parts
    last_parts = (3 + 2 * pairs) * max(entries)
    assert sum(entries) <= sum(labels) + last_parts


@pytest.fixture
def reaching_few():
    """Statistics of 3 episodes of 4 steps by the 2 of 5 states within reach of each cell, float64."""
    random = torch.Generator().manual_seed(1)
    reach = torch.stack([torch.randperm(5, generator=random)[:2] for _ in range(15)]).reshape(5, 3, 2)
    moves = torch.randint(0, 9, (3, 4, 5, 3, 2), generator=random).double()
    visits = moves.sum(-1)
    return CellStatistics(visits, 0.3 * visits, moves, None, visits.sum(-1), reach)


def test_next_states_within_reach_say_what_all_states_say(reaching_few):
    dense = reaching_few.over_all_states()
    assert dense.next_state.shape == (3, 4, 5, 3, 5)
    assert torch.equal(dense.next_state.sum(-1), dense.visits)
    for b, t, s, a in np.ndindex(3, 4, 5, 3):
        row = torch.zeros(5, dtype=torch.float64)
        row[reaching_few.reach[s, a]] = reaching_few.next_state[b, t, s, a]
        assert torch.equal(dense.next_state[b, t, s, a], row)
    assert torch.equal(reaching_few.arrivals(), dense.arrivals())
    assert torch.equal(dense.arrivals(), dense.next_state.sum(2).transpose(-1, -2))
    random = torch.Generator().manual_seed(2)
    values = torch.rand(3, 3, 5, generator=random, dtype=torch.float64)
    expected = torch.einsum("bhsat,bht->bhsa", dense.next_state[:, 1:], values)
    weight = torch.rand(3, 4, 5, 3, generator=random, dtype=torch.float64) / 9
    offset = torch.rand(3, 4, 5, generator=random, dtype=torch.float64)
    for told in (reaching_few, dense):
        torch.testing.assert_close(told.value_reached(values, slice(1, None)), expected)
        one_for_all = told.value_reached(values[:1], slice(1, None))
        torch.testing.assert_close(one_for_all[0], expected[0])
        back = told.values_backwards(weight, offset)
        assert not back[:, -1].any()
        assert torch.equal(back[:, -2], offset[:, -1])
        reached = dense.value_reached(back[:, 1:])
        torch.testing.assert_close(back[:, :-1], offset + (weight * reached).sum(-1))


@pytest.mark.parametrize("other", ["all states", "others"])
def test_statistics_of_different_reaches_are_joined_over_all_states(reaching_few, other):
    dense = reaching_few.over_all_states()
    flipped = reaching_few._replace(
        next_state=reaching_few.next_state.flip(-1), reach=reaching_few.reach.flip(-1)
    )
    second = dense if other == "all states" else flipped  # the same agents, numbered otherwise
    for joined in (reaching_few.joined(second), second.joined(reaching_few)):
        assert joined.reach is None
        assert torch.equal(joined.next_state, torch.cat([dense.next_state, dense.next_state]))


def test_what_is_made_of_statistics_keeps_their_reach(reaching_few):
    whole = reaching_few.episode(0).joined(reaching_few.episodes(slice(1, None)))
    for one, other in zip(whole, reaching_few, strict=True):
        assert one is other or torch.equal(one, other)
    pooled, dense = whole.pooled().to(torch.float32), whole.over_all_states().pooled().to(torch.float32)
    assert pooled.next_state.dtype == torch.float32
    assert torch.equal(pooled.over_all_states().next_state, dense.next_state)
    assert dense.over_all_states() is dense
