"""The replay memory: what it keeps, what it draws, what it saves."""

import pytest
import torch

from mf_pmd.functional.cells import cell_statistics
from mf_pmd.modules.cell_replay import CellReplay


@pytest.fixture
def episodes():
    """Statistics of B episodes whose reward tells them apart: the number of the episode."""

    def make(*numbers):
        rewards = torch.tensor(numbers, dtype=torch.float32).reshape(-1, 1, 1).expand(-1, 2, 3)
        states, actions = torch.zeros(len(numbers), 3, 3), torch.zeros(len(numbers), 2, 3)
        return cell_statistics(states, actions, rewards, n_states=2, n_actions=2, count_next_cells=True)

    return make


def numbers(statistics):
    return [round(x / 6) for x in statistics.reward_sum.sum((1, 2, 3)).tolist()]


def test_the_oldest_leave_first(episodes):
    replay = CellReplay(5)
    replay.append(episodes(1, 2, 3))
    assert numbers(replay.kept) == [1, 2, 3]
    replay.append(episodes(4, 5, 6))
    assert numbers(replay.kept) == [2, 3, 4, 5, 6]
    assert replay.kept.next_cell.shape == (5, 2, 2, 2, 2, 2)
    replay.append(episodes(*range(7, 15)))  # more than it keeps
    assert numbers(replay.kept) == [10, 11, 12, 13, 14]


def test_every_episode_is_drawn_alike_and_none_twice(episodes):
    torch.manual_seed(0)
    replay = CellReplay(9)
    replay.append(episodes(*range(5)))
    counts = torch.zeros(5)
    for _ in range(1000):
        drawn = numbers(replay.sample(2))
        assert len(set(drawn)) == 2
        counts[drawn] += 1
    assert (counts - 400).abs().max() < 80
    assert sorted(numbers(replay.sample(7))) == [0, 1, 2, 3, 4]


def test_what_is_saved_comes_back(episodes, tmp_path):
    replay = CellReplay(2)
    empty = CellReplay(2)
    empty.load_state_dict(replay.state_dict())
    assert empty.kept is None
    replay.append(episodes(1, 2, 3))
    torch.save(replay.state_dict(), tmp_path / "replay.th")
    again = CellReplay(2)
    again.load_state_dict(torch.load(tmp_path / "replay.th", weights_only=True))
    assert all(torch.equal(a, b) for a, b in zip(again.kept[:-1], replay.kept[:-1], strict=True))
    assert again.kept.reach is None


def test_a_memory_of_states_within_reach_goes_on_with_all_states(episodes, tmp_path):
    # a run counted by its runner, resumed where agents are followed
    dense = episodes(1, 2)._replace(next_cell=None)
    reach = torch.tensor([[[0], [1]], [[1], [0]]])  # [S, A, 1]
    few = dense._replace(next_state=dense.visits.unsqueeze(-1), reach=reach)
    replay = CellReplay(3)
    replay.append(few)
    torch.save(replay.state_dict(), tmp_path / "replay.th")
    again = CellReplay(3)
    again.load_state_dict(torch.load(tmp_path / "replay.th", weights_only=True))
    assert torch.equal(again.kept.reach, reach)
    again.append(dense)
    assert numbers(again.kept) == [2, 1, 2]
    assert again.kept.next_state.shape == (3, 2, 2, 2, 2)
    assert torch.equal(again.kept.next_state[0], few.over_all_states().next_state[1])
