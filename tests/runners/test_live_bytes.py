"""What is held at once while episodes are played: the batch, and a few bytes an agent beside it."""

from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mf_pmd.functional import parts

AGENTS, EPISODES = 20_000, 4
SIZES = [f"{key}={EPISODES}" for key in ("batch_size_run", "batch_size", "buffer_size", "test_nepisode")]
WORDS = [f"env_args.n_agents={AGENTS}", *SIZES]
BESIDE_TRAINING = (
    30  # bytes an agent: returns 8, draws 4, rewards 4, states and actions, initial ones in int64
)
BESIDE_TESTING = 42  # and states and actions in int64


class LiveBytes(TorchDispatchMode):
    """Adds up the storage of all tensors that operations took or made and that still exist.

    Attributes:
        most: the most bytes after any operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs or {}, found)):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self.storages[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.storages = {key: kept for key, kept in self.storages.items() if not kept[0].expired()}
        self.most = max(self.most, sum(size for _, size in self.storages.values()))
        return found


def beside_the_batch(build, env, *, test_mode):
    """The most bytes an agent that playing holds beside the batch, and what it played."""
    torch.manual_seed(0)
    horizon = [] if env == "mfglib" else ["env_args.horizon=4"]
    runner = build("mf_pmd_tabular", env, *WORDS, *horizon).runner
    with LiveBytes() as live:
        batch = runner.run(test_mode=test_mode)
    stored = {key: column.clone() for key, column in batch.data.stored.items()}
    held = sum(column.nbytes for column in stored.values())
    return (live.most - held) / (AGENTS * EPISODES), stored


def test_live_bytes_are_those_that_exist():
    with LiveBytes() as live:
        first = torch.zeros(1000)
        assert live.most == 4000
        view = first[:10]
        del first
        second = view + 1
        assert live.most == 4000 + second.nbytes
        del view
        torch.zeros(1000)
        assert live.most == 4000 + second.nbytes


@pytest.mark.parametrize("env", ["a_beach", "a_sis", "a_rps", "mfglib"])
@pytest.mark.parametrize(("test_mode", "most"), [(False, BESIDE_TRAINING), (True, BESIDE_TESTING)])
def test_a_batch_is_played_within_few_bytes_an_agent(build, monkeypatch, env, test_mode, most):
    whole, expected = beside_the_batch(build, env, test_mode=test_mode)
    monkeypatch.setattr(parts, "AGENTS_AT_ONCE", 512)
    needed, found = beside_the_batch(build, env, test_mode=test_mode)
    assert needed < most < whole
    assert all(torch.equal(found[key], expected[key]) for key in expected)
