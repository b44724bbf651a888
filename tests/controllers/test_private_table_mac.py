"""The private-table controller: whose row is played, what is scored, checkpoints, refusals."""

import copy
from types import SimpleNamespace

import pytest
import torch

from mf_pmd.controllers.private_table_mac import PrivateSampler, require_tables
from mf_pmd.errors import UserError

N, H, S, A = 12, 4, 10, 3
WORDS = [f"env_args.n_agents={N}", f"env_args.horizon={H}"]


def shake(mac, seed):
    random = torch.Generator().manual_seed(seed)
    mac.log_table = torch.log_softmax(0.8 * torch.randn(mac.log_table.shape, generator=random), -1)


@pytest.fixture
def make_mac(build):
    """A controller with K random iterates behind the uniform one, and those iterates."""

    def make(*words, iterates=5):
        mac = build("ipmd", "a_beach", *WORDS, *words).learner.mac
        played = [mac.log_table.exp()]
        for seed in range(iterates):
            shake(mac, seed)
            mac.record_iterate()
            played.append(mac.log_table.exp())
        return mac, torch.stack(played)

    return make


def make_batch(batch_size=3, seed=0):
    random = torch.Generator().manual_seed(seed)
    return {"obs": torch.randint(S, (batch_size, H + 1, N, 1), generator=random).float()}


def test_it_starts_uniform_and_shares_nothing(make_mac):
    mac, _ = make_mac(iterates=0)
    assert mac.shares_policy is False
    assert mac.log_table.shape == (N, H, S, A)
    assert torch.allclose(mac.log_table.exp(), torch.full((), 1 / A))


@pytest.mark.parametrize("output_policy", ["last", "average", "tail"])
def test_every_agent_plays_its_own_row(make_mac, output_policy):
    mac, played = make_mac(f"output_policy={output_policy}")
    means = {"last": played[-1], "average": played.mean(0), "tail": played[3:].mean(0)}
    batch = make_batch()
    mac.init_hidden(3)
    for test_mode, name in ((False, "last"), (True, output_policy)):
        for t in range(H):
            found = mac.forward(batch, t, test_mode=test_mode)
            assert found.shape == (3, N, A)
            for b in range(3):
                for i in range(N):
                    row = means[name][i, t, int(batch["obs"][b, t, i, 0])]
                    assert torch.allclose(found[b, i], row, atol=1e-6)


@pytest.mark.parametrize("test_mode", [False, True])
def test_actions_follow_each_agent_s_row(make_mac, assert_laws, test_mode):
    mac, _ = make_mac()
    batch = make_batch(batch_size=2)
    mac.init_hidden(2)
    laws = mac.forward(batch, 1, test_mode=test_mode)
    counts = torch.zeros_like(laws)
    torch.manual_seed(0)
    for _ in range(2500):
        actions = mac.select_actions(batch, t_ep=1, t_env=0, test_mode=test_mode)
        counts += torch.nn.functional.one_hot(actions, A)
    assert actions.shape == (2, N)
    assert actions.dtype == torch.int64
    laws = laws.flatten(0, 1).double()
    assert_laws(counts.flatten(0, 1), laws / laws.sum(-1, keepdim=True))


def test_agents_draw_independently(assert_laws):
    policy = torch.tensor([[[0.3, 0.7]], [[0.6, 0.4]]])  # two agents, one state
    torch.manual_seed(1)
    actions = PrivateSampler().select_action(policy, torch.zeros(20_000, 2, dtype=torch.int64))
    pairs = torch.bincount(actions[:, 0] * 2 + actions[:, 1], minlength=4)
    assert_laws(pairs, torch.outer(policy[0, 0], policy[1, 0]).flatten())


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-24])
def test_actions_of_probability_zero_are_never_drawn(monkeypatch, draw):
    policy = torch.softmax(3 * torch.randn(500, S, A, generator=torch.Generator().manual_seed(0)), -1)
    policy[:200, :, 0] = 0.0
    policy[100:400, :, 2] = 0.0
    policy = policy / policy.sum(-1, keepdim=True)
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(tuple(shape), draw))
    states = torch.arange(500).remainder(S).unsqueeze(0)
    actions = PrivateSampler().select_action(policy, states)[0]
    assert (policy[torch.arange(500), states[0], actions] > 0).all()


@pytest.mark.parametrize("bs", [[2], [2, 0], slice(1, None), slice(None)])
def test_a_subset_of_the_episodes(make_mac, bs):
    mac, _ = make_mac(iterates=0)
    sure = torch.full((N, H, S, A), -80.0)
    agents, states = torch.arange(N).unsqueeze(1), torch.arange(S)
    sure[agents, 3, states, (agents + states) % A] = 0.0  # agent i in state s plays (i + s) mod 3
    mac.log_table = torch.log_softmax(sure, -1)
    mac.record_iterate()
    batch = make_batch()
    actions = mac.select_actions(batch, t_ep=3, t_env=0, bs=bs)
    assert torch.equal(actions, (torch.arange(N) + batch["obs"][bs, 3, :, 0].long()) % A)


def test_what_is_scored_is_the_plain_mean_over_agents(make_mac):
    mac, played = make_mac()
    means = {"last": played[-1], "average": played.mean(0), "tail": played[3:].mean(0)}
    for name, policy in mac.scored_policies().items():
        for h in range(H):
            assert torch.allclose(policy(h, torch.ones(S) / S), means[name][:, h].mean(0), atol=1e-6), name


def test_a_table_that_is_no_policy_is_refused(make_mac):
    mac, _ = make_mac(iterates=0)
    mac.log_table[3, 1, 2, 0] = torch.nan
    mac.record_iterate()
    with pytest.raises(UserError, match=r"the last policy of an agent holds NaN"):
        mac.select_actions(make_batch(), t_ep=1, t_env=0)


def test_a_deep_copy_is_independent(make_mac):
    mac, _ = make_mac()
    twin, batch = copy.deepcopy(mac), make_batch()
    before = mac.forward(batch, 1, test_mode=True)
    assert torch.equal(twin.forward(batch, 1, test_mode=True), before)
    shake(twin, 50)
    twin.record_iterate()
    assert not torch.allclose(twin.forward(batch, 1), mac.forward(batch, 1))
    assert torch.equal(mac.forward(batch, 1, test_mode=True), before)


def test_load_state_takes_over_what_the_other_plays(make_mac):
    (mac, _), (other, _) = make_mac(iterates=0), make_mac()
    mac.load_state(other)
    batch = make_batch()
    for test_mode in (False, True):
        assert torch.equal(mac.forward(batch, 1, test_mode), other.forward(batch, 1, test_mode))
    assert mac.log_table is not other.log_table


REFUSED = {
    "output_policy": ("output_policy", "best", "last, average, tail"),
    "observation": ("observation", "features", "set observation=index"),
    "population_info": ("population_info", None, "runner=population"),
    "n_agents": ("n_agents", 10**7, r"env_args.n_agents=10000000: ipmd keeps a table of 4 steps, 10 states"),
}


@pytest.mark.parametrize(("key", "value", "remedy"), REFUSED.values(), ids=REFUSED)
def test_settings_it_cannot_serve_are_refused(make_mac, key, value, remedy):
    mac, _ = make_mac(iterates=0)
    args = SimpleNamespace(**{**vars(mac.args), key: value})
    with pytest.raises(UserError, match=remedy) as caught:
        type(mac)({}, {}, args)
    assert "\n" not in str(caught.value)


def test_a_hundred_thousand_agents_on_a_sis_are_served():
    require_tables("ipmd", (100_000, 20, 2, 2))
    require_tables("ipmd", (100_000, 20, 10, 3))
    with pytest.raises(UserError, match=r"6.0e\+08 entries \(at most 6.7e\+07\)"):
        require_tables("ipmd", (1_000_000, 20, 10, 3))
