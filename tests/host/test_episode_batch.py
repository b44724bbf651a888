"""Batches and the replay buffer, against expectations written by hand."""

import numpy as np
import pytest
import torch

from mf_pmd.host.components.episode_batch import EpisodeBatch, complete_scheme
from mf_pmd.host.components.replay_buffer import ReplayBuffer
from mf_pmd.host.components.transforms import OneHot

SCHEME = {
    "state": {"vshape": 2},
    "obs": {"vshape": 3, "group": "agents"},
    "actions": {"vshape": (1,), "group": "agents", "dtype": torch.long},
    "avail_actions": {"vshape": (4,), "group": "agents", "dtype": torch.int},
    "terminated": {"vshape": (1,), "dtype": torch.uint8},
    "reward": {"vshape": (2,)},
}
GROUPS = {"agents": 2}
PREPROCESS = {"actions": ("actions_onehot", [OneHot(out_dim=4)])}


def make(batch_size: int = 3, length: int = 5, kind: type = EpisodeBatch) -> EpisodeBatch:
    return kind(SCHEME, GROUPS, batch_size, length, preprocess=PREPROCESS)


def test_scheme_is_completed_and_the_given_one_kept():
    scheme = complete_scheme(SCHEME, PREPROCESS)
    assert scheme["actions_onehot"] == {"vshape": (4,), "dtype": torch.float32, "group": "agents"}
    assert scheme["filled"] == {"vshape": (1,), "dtype": torch.long}
    assert "filled" not in SCHEME
    assert make().scheme == scheme


def test_shapes_and_types():
    batch = make()
    expected = {
        "state": ((3, 5, 2), torch.float32),
        "obs": ((3, 5, 2, 3), torch.float32),
        "actions": ((3, 5, 2, 1), torch.long),
        "avail_actions": ((3, 5, 2, 4), torch.int),
        "actions_onehot": ((3, 5, 2, 4), torch.float32),
        "terminated": ((3, 5, 1), torch.uint8),
        "reward": ((3, 5, 2), torch.float32),
        "filled": ((3, 5, 1), torch.long),
    }
    for key, (shape, dtype) in expected.items():
        assert (tuple(batch[key].shape), batch[key].dtype) == (shape, dtype), key


def test_update_writes_the_chosen_episodes_and_step_and_marks_them():
    batch = make()
    batch.update({"obs": np.full((2, 2, 3), 7.0)}, bs=[0, 2], ts=1)
    assert batch["obs"][[0, 2], 1].eq(7).all()
    assert batch["obs"].sum() == 7 * 2 * 2 * 3
    assert batch["filled"].squeeze(-1).tolist() == [[0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]]
    assert batch.max_t_filled().tolist() == [1]


def test_update_may_leave_the_marks_alone():
    batch = make()
    batch.update({"reward": torch.ones(3, 2)}, ts=0, mark_filled=False)
    assert batch["filled"].sum() == 0


@pytest.mark.parametrize(
    "value", [[[1, 2], [3, 0], [0, 1]], torch.tensor([[1, 2], [3, 0], [0, 1]])], ids=["list", "tensor"]
)
def test_one_hot_is_computed_on_reading_and_zero_where_nothing_was_written(value):
    batch = make()
    batch.update({"actions": value}, ts=2)
    one_hot = batch["actions_onehot"]
    assert one_hot[:, 2].argmax(-1).tolist() == [[1, 2], [3, 0], [0, 1]]
    assert one_hot[:, 2].sum(-1).eq(1).all()
    assert one_hot[:, [0, 1, 3, 4]].sum() == 0
    assert batch[1:, 2:3]["actions_onehot"].argmax(-1).squeeze(1).tolist() == [[3, 0], [0, 1]]
    assert "actions_onehot" not in batch.data.stored


def test_expanded_ones_cost_nothing_and_anything_else_is_stored():
    batch = make()
    ones = torch.ones((), dtype=torch.int).expand(3, 2, 4)
    batch.update({"avail_actions": ones}, ts=0)
    batch.update({"avail_actions": ones}, ts=1)
    assert "avail_actions" not in batch.data.stored
    assert batch["avail_actions"].eq(1).all()
    mask = torch.ones(3, 2, 4)
    mask[0, 1, 2] = 0
    batch.update({"avail_actions": mask}, ts=1)
    assert batch["avail_actions"][0, 1, 1].tolist() == [1, 1, 0, 1]
    assert batch["avail_actions"].sum() == batch["avail_actions"].numel() - 1


def test_expanded_zeros_and_changed_ones_are_not_mistaken_for_ones():
    batch = make()
    source = torch.ones(1, dtype=torch.int)
    batch.update({"avail_actions": source.expand(24).view(3, 2, 4)}, ts=0)
    source.zero_()
    batch.update({"avail_actions": source.expand(24).view(3, 2, 4)}, ts=1)
    assert batch["avail_actions"][:, 0].eq(1).all()
    assert batch["avail_actions"][:, 1].eq(0).all()


def test_slices_are_views_and_lists_are_copies():
    batch = make()
    part = batch[1:, 0:2]
    assert (part.batch_size, part.max_seq_length) == (2, 2)
    part.update({"state": torch.ones(2, 2, 2)})
    assert batch["state"].sum() == 8
    assert batch[2, 1]["state"].shape == (1, 1, 2)
    assert batch[-1].batch_size == 1
    chosen = batch[[0, 2]]
    assert chosen["state"].sum() == 4
    assert chosen.batch_size == 2


def test_some_columns():
    batch = make()
    part = batch["obs", "actions_onehot"]
    assert set(part.data.stored) == {"obs", "actions_onehot"}
    assert part["obs"].data_ptr() == batch["obs"].data_ptr()
    with pytest.raises(KeyError, match="state"):
        part["state"]


def test_refusals():
    batch = make()
    with pytest.raises(KeyError, match="colour"):
        batch.update({"colour": torch.ones(3)}, ts=0)
    with pytest.raises(KeyError, match="actions_onehot"):
        batch.update({"actions_onehot": torch.ones(3, 2, 4)}, ts=0)
    with pytest.raises(ValueError, match="obs"):
        batch.update({"obs": torch.ones(3, 3, 2)}, ts=0)
    with pytest.raises(ValueError, match="avail_actions"):
        batch.update({"avail_actions": torch.ones(()).expand(3, 2, 5)}, ts=0)
    with pytest.raises(KeyError, match="colour"):
        batch["colour"]
    with pytest.raises(IndexError, match="contiguous"):
        batch[:, [0, 2]]


def episodes(values: list[int], **extra: torch.Tensor) -> EpisodeBatch:
    batch = make(batch_size=len(values))
    state = torch.tensor(values).view(-1, 1, 1).expand(-1, 5, 2)
    batch.update({"state": state, **extra})
    return batch


def test_buffer_keeps_the_newest_episodes():
    buffer = make(batch_size=3, kind=ReplayBuffer)
    buffer.insert_episode_batch(episodes([1, 2]))
    assert not buffer.can_sample(3)
    buffer.insert_episode_batch(episodes([3, 4]))
    assert buffer["state"][:, 0, 0].tolist() == [4, 2, 3]
    assert buffer.buffer_index == 1
    assert sorted(buffer.sample(2)["state"][:, 0, 0].tolist()) in ([2, 3], [2, 4], [3, 4])


def test_buffer_keeps_masks_and_written_actions_of_each_episode():
    buffer = make(batch_size=2, kind=ReplayBuffer)
    closed = torch.zeros(1, 5, 2, 4)
    acted = torch.full((1, 5, 2, 1), 3)
    buffer.insert_episode_batch(episodes([1], avail_actions=closed, actions=acted))
    buffer.insert_episode_batch(episodes([2]))
    assert buffer["avail_actions"][0].eq(0).all()
    assert buffer["avail_actions"][1].eq(1).all()
    assert buffer["actions_onehot"][0].sum() == 10
    assert buffer["actions_onehot"][1].sum() == 0
    buffer.insert_episode_batch(episodes([3]))
    assert buffer["avail_actions"][0].eq(1).all()
    assert buffer["actions_onehot"][0].sum() == 0


def test_buffer_is_restored():
    buffer, other = (make(batch_size=4, kind=ReplayBuffer) for _ in range(2))
    buffer.insert_episode_batch(episodes([1, 2, 3], avail_actions=torch.zeros(3, 5, 2, 4)))
    other.load_state_dict(buffer.state_dict())
    assert other.buffer_index == other.episodes_in_buffer == 3
    for key in buffer.scheme:
        assert torch.equal(other[key], buffer[key]), key


def test_buffer_refuses_other_lengths():
    with pytest.raises(ValueError, match="fit"):
        make(kind=ReplayBuffer).insert_episode_batch(make(length=4))
