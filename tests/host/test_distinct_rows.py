"""Distinct rows: exact, found wherever they are, and of no consequence but for time."""

import gc
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mf_pmd.host.components import distinct_rows as module
from mf_pmd.host.components.distinct_rows import distinct_rows, evaluate
from mf_pmd.host.components.episode_batch import EpisodeBatch
from mf_pmd.host.components.transforms import OneHot
from mf_pmd.host.controllers import BasicMAC
from mf_pmd.host.modules.critics import ACCritic, CentralVCritic

B, T, N, S, A = 3, 4, 6, 2, 3


def brute_force(*parts):
    """Number of different rows of parts side by side, as Python's sets count them."""
    shape = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
    rows = torch.cat([part.expand(*shape, -1) for part in parts], dim=-1).flatten(0, -2)
    return len({tuple(row) for row in rows.tolist()})


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 3))
def test_every_row_is_its_kinds_row(seed, levels, width):
    random = torch.Generator().manual_seed(seed)
    own = torch.randint(levels, (B, T, N, width), generator=random).float()
    common = torch.randint(2, (B, T, 1, 2), generator=random).float()
    for parts in ([own], [common, own], [own, common, own[:1, :1, :1]]):
        found, n_kinds = distinct_rows(parts), brute_force(*parts)
        if n_kinds > B * T * N / 2:
            assert found is None
            continue
        assert found.kind.shape == (B, T, N)
        assert len(found.where[0]) == n_kinds == len(found.kind.unique())
        for part in parts:
            assert torch.equal(found.pick(part)[found.kind], part.expand(B, T, N, -1))


def test_rows_that_differ_in_the_last_bit_differ():
    rows = torch.ones(40, 3)
    rows[::2, 1] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    assert len(distinct_rows([rows]).where[0]) == 2


def test_rows_of_equal_keys_are_not_mistaken_for_equal(monkeypatch):
    monkeypatch.setattr(module, "_direction", lambda size, device: torch.ones(size, dtype=torch.float64))
    rows = torch.tensor([[1.0, 2.0], [2.0, 1.0]]).repeat(10, 1)
    assert distinct_rows([rows]) is None
    assert distinct_rows([rows[::2]]) is not None


def test_what_does_not_pay_or_cannot_be_told_is_left_dense():
    assert distinct_rows([torch.randn(50, 3)]) is None
    assert distinct_rows([torch.zeros(50, 3)]) is not None
    assert distinct_rows([torch.full((50, 3), torch.nan)]) is None
    assert distinct_rows([torch.zeros(0, 3)]) is None


def test_outputs_and_gradients_are_those_of_all_rows():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    own, common = torch.randint(2, (B, T, N, 1)).double(), torch.randint(2, (B, T, 1, 2)).double()
    weights = torch.randn(B, T, N, 2, dtype=torch.float64)

    def side_by_side(parts):
        shape = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
        return network(torch.cat([part.expand(*shape, -1) for part in parts], dim=-1))

    results = []
    for rows in (None, distinct_rows([common, own])):
        network.zero_grad()
        outputs = evaluate(side_by_side, [common, own], rows)
        (outputs.square() * weights).sum().backward()
        results.append([outputs.detach(), *(p.grad.clone() for p in network.parameters())])
    for dense, shared in zip(*results, strict=True):
        torch.testing.assert_close(dense, shared, rtol=1e-12, atol=1e-12)


def arguments(**changes):
    settings = {
        "n_agents": N,
        "n_actions": A,
        "agent": "rnn",
        "use_rnn": False,
        "hidden_dim": 16,
        "agent_output_type": "pi_logits",
        "action_selector": "soft_policies",
        "mask_before_softmax": True,
        "obs_agent_id": False,
        "obs_last_action": False,
        "obs_individual_obs": True,
    }
    return SimpleNamespace(**{**settings, **changes})


def population_batch(*, masked=False, distinct=False):
    """Episodes as a population game fills them: a one-hot local state and what all share."""
    torch.manual_seed(1)
    scheme = {
        "state": {"vshape": S},
        "obs": {"vshape": S + 1, "group": "agents"},
        "actions": {"vshape": (1,), "group": "agents", "dtype": torch.long},
        "avail_actions": {"vshape": (A,), "group": "agents", "dtype": torch.int},
    }
    preprocess = {"actions": ("actions_onehot", [OneHot(A)])}
    batch = EpisodeBatch(scheme, {"agents": N}, B, T + 1, preprocess=preprocess)
    for t in range(T + 1):
        local = torch.eye(S)[torch.randint(S, (B, N))]
        shared = torch.randint(3, (B, 1, 1)) / 2
        obs = torch.cat([local, shared.expand(B, N, 1)], dim=-1)
        obs = torch.randn(B, N, S + 1) if distinct else obs
        batch.update({"state": local.mean(1), "obs": obs, "actions": torch.randint(A, (B, N))}, ts=t)
        if masked:
            mask = torch.ones(B, N, A, dtype=torch.int)
            mask[..., 0] = torch.randint(2, (B, N))
            batch.update({"avail_actions": mask}, ts=t)
    return batch


CONTROLLERS = {
    "feedforward": {},
    "last action": {"obs_last_action": True},
    "values": {"agent_output_type": "q"},
    "index": {"obs_agent_id": True},
    "recurrent": {"use_rnn": True, "obs_last_action": True},
}


@pytest.mark.parametrize("masked", [False, True], ids=["open", "masked"])
@pytest.mark.parametrize("distinct", [False, True], ids=["repeated", "distinct"])
@pytest.mark.parametrize("changes", CONTROLLERS.values(), ids=CONTROLLERS)
def test_a_whole_episode_is_its_steps_and_the_agents_one_by_one(changes, distinct, masked):
    batch = population_batch(masked=masked, distinct=distinct)
    args = arguments(**changes)
    mac = BasicMAC(batch.scheme, {"agents": N}, args)
    assert mac.shares_policy is not args.obs_agent_id
    together = mac.forward_all(batch)
    mac.init_hidden(B)
    steps = torch.stack([mac.forward(batch, t) for t in range(T + 1)], dim=1)
    torch.testing.assert_close(together, steps)
    hidden = torch.zeros(B * N, 16)
    for t in range(T + 1):  # every agent by itself, from the definition of its input
        inputs = [batch["obs"][:, t]]
        if args.obs_last_action:
            inputs.append(batch["actions_onehot"][:, t - 1] if t else torch.zeros(B, N, A))
        if args.obs_agent_id:
            inputs.append(torch.eye(N).expand(B, N, N))
        outputs, hidden = mac.agent(torch.cat(inputs, -1).flatten(0, 1), hidden)
        outputs = outputs.view(B, N, A)
        if args.agent_output_type == "pi_logits":
            outputs = outputs.masked_fill(batch["avail_actions"][:, t] == 0, -1e10).softmax(-1)
        torch.testing.assert_close(together[:, t], outputs)


@pytest.mark.parametrize("index", [False, True], ids=["no index", "index"])
@pytest.mark.parametrize("own", [False, True], ids=["state", "state and own"])
def test_the_central_critic_sees_the_state_its_own_observation_and_its_index(own, index):
    batch = population_batch()
    critic = CentralVCritic(batch.scheme, arguments(obs_individual_obs=own, obs_agent_id=index))
    inputs = [batch["state"].unsqueeze(2).expand(-1, -1, N, -1)]
    inputs += [batch["obs"]] if own else []
    inputs += [torch.eye(N).expand(B, T + 1, N, N)] if index else []
    expected = critic.rest(critic.first(torch.cat(inputs, dim=-1)))
    for values in (critic(batch), torch.cat([critic(batch, t) for t in range(T + 1)], dim=1)):
        assert values.shape == (B, T + 1, N, 1)
        torch.testing.assert_close(values, expected)
    torch.testing.assert_close(critic(batch, slice(0, -1)), expected[:, :-1])


@pytest.mark.parametrize("index", [False, True], ids=["no index", "index"])
def test_the_individual_critic_sees_its_own_observation_and_its_index(index):
    batch = population_batch()
    critic = ACCritic(batch.scheme, arguments(obs_agent_id=index))
    inputs = [batch["obs"], *([torch.eye(N).expand(B, T + 1, N, N)] if index else [])]
    torch.testing.assert_close(critic(batch), critic.rest(critic.first(torch.cat(inputs, dim=-1))))


def test_the_network_sees_every_distinct_row_once():
    batch = population_batch()
    mac = BasicMAC(batch.scheme, {"agents": N}, arguments())
    seen = []
    mac.agent.register_forward_pre_hook(lambda agent, inputs: seen.append(len(inputs[0])))
    mac.forward_all(batch)
    mac.forward(batch, 2)
    assert seen == [brute_force(batch["obs"]), brute_force(batch["obs"][:, 2])]


def test_a_batch_is_searched_once_until_it_is_written(monkeypatch):
    calls = []
    search = module.distinct_rows
    monkeypatch.setattr(module, "distinct_rows", lambda parts: calls.append(1) or search(parts))
    batch = population_batch()
    mac, critic = BasicMAC(batch.scheme, {"agents": N}, arguments()), ACCritic(batch.scheme, arguments())
    first = mac.forward_all(batch)
    for _ in range(3):
        mac.forward_all(batch)
        critic(batch)
    assert len(calls) == 1  # the controller and the critic see the same rows
    batch.update({"obs": batch["obs"][:, 1].flip(1)}, ts=0)
    assert not torch.equal(mac.forward_all(batch)[:, 0], first[:, 0])
    assert len(calls) == 2
    known = len(module._remembered)
    del batch
    gc.collect()
    assert len(module._remembered) == known - 1
