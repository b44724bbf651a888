"""The mean-action controller: whom it counts, what it plays, and that nothing of it grows with N."""

import math
from types import SimpleNamespace

import pytest
import torch

from mf_pmd.controllers import REGISTRY
from mf_pmd.errors import UserError

S, A, H, BETA = 3, 2, 4, 3.0


@pytest.fixture
def make_args():
    def make(**changes):
        values = {
            "name": "mf_q",
            "agent": "mean_action_q",
            "beta": BETA,
            "hidden_dim": 8,
            "n_actions": A,
            "state_shape": S,
            "observation": "index",
            "population_info": {"game": "any", "n_states": S, "horizon": H},
        }
        return SimpleNamespace(**{**values, **changes})

    return make


@pytest.fixture
def make_mac(make_args):
    """A controller whose Q is of order 1."""

    def make(**changes):
        mac = REGISTRY["mean_action_mac"]({}, {}, make_args(**changes))
        torch.manual_seed(0)
        for parameter in mac.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        return mac

    return make


def make_batch(n_agents, batch_size=2, seed=0):
    random = torch.Generator().manual_seed(seed)
    states = torch.randint(S, (batch_size, H + 1, n_agents, 1), generator=random)
    counts = torch.nn.functional.one_hot(states[..., 0], S).sum(2)
    return {
        "obs": states.float(),
        "state": counts / n_agents,
        "actions": torch.randint(A, (batch_size, H + 1, n_agents, 1), generator=random),
    }


@pytest.mark.parametrize("t", [0, 1, 3])
def test_every_agent_plays_the_boltzmann_policy_at_what_the_others_did(make_mac, t):
    mac, batch = make_mac(), make_batch(5)
    found = mac.forward(batch, t)
    assert found.shape == (2, 5, A)
    for b in range(2):
        for i in range(5):
            others = [batch["actions"][b, t - 1, k, 0].item() for k in range(5) if k != i]
            mean = [others.count(a) / 4 if t else 1 / A for a in range(A)]
            s = int(batch["obs"][b, t, i, 0])
            with torch.no_grad():
                rows = mac.q_values(batch["state"][b, t].unsqueeze(0), torch.tensor([[mean]]), t)
            odds = [math.exp(BETA * q) for q in rows[0, s, 0].tolist()]
            assert found[b, i].tolist() == pytest.approx([x / sum(odds) for x in odds], rel=1e-4)


def test_actions_are_drawn_from_the_probabilities(make_mac, assert_laws):
    mac, batch = make_mac(), make_batch(6, batch_size=1)
    batch = {key: value.expand(4000, *value.shape[1:]) for key, value in batch.items()}
    torch.manual_seed(1)
    actions = mac.select_actions(batch, t_ep=2, t_env=0)
    laws = mac.forward(batch, 2)[0]
    assert actions.dtype == torch.int64
    for mode in (False, True):  # test mode plays the same
        drawn = mac.select_actions(batch, t_ep=2, t_env=0, test_mode=mode)
        assert_laws(torch.nn.functional.one_hot(drawn, A).sum(0), laws.detach())


def test_some_episodes_of_a_batch(make_mac):
    mac, batch = make_mac(beta=1e6), make_batch(50)  # so cold that draws do not matter
    everyone = mac.select_actions(batch, t_ep=1, t_env=0)
    assert torch.equal(mac.select_actions(batch, t_ep=1, t_env=0, bs=[1]), everyone[1:])
    assert torch.equal(mac.select_actions(batch, t_ep=1, t_env=0, bs=slice(0, 1)), everyone[:1])


def test_the_network_runs_on_as_many_rows_for_any_number_of_agents(make_mac):
    mac, rows = make_mac(), []
    forward = mac.agent.critic.forward
    mac.agent.critic.forward = lambda features: rows.append(features.shape[:-1]) or forward(features)
    for n_agents in (2, 5000):
        mac.select_actions(make_batch(n_agents), t_ep=1, t_env=0)
    assert rows == [(2, 1, S, A)] * 2


def test_it_declares_what_it_is(make_mac):
    mac = make_mac()
    assert mac.shares_policy is True
    assert not hasattr(mac, "scored_policies")  # its policy is no function of (h, nu)


def test_checkpoints(make_mac, make_args, tmp_path):
    mac = make_mac()
    mac.save_models(str(tmp_path))
    other = REGISTRY["mean_action_mac"]({}, {}, make_args(beta=9.0))
    other.load_models(str(tmp_path))
    third = REGISTRY["mean_action_mac"]({}, {}, make_args())
    third.load_state(mac)
    for name, value in mac.agent.state_dict().items():
        assert torch.equal(value, other.agent.state_dict()[name])
        assert torch.equal(value, third.agent.state_dict()[name])
    for change, reason in {
        "hidden_dim": "its hidden_dim is 8, this run's is 9",
        "n_actions": "its n_actions is 2, this run's is 9",
    }.items():
        stranger = REGISTRY["mean_action_mac"]({}, {}, make_args(**{change: 9}))
        with pytest.raises(UserError, match=reason):
            stranger.load_models(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agent": "mean_field_network"}, "agent=mean_field_network: .*takes mean_action_q"),
        ({"agent": "rnn"}, "agent=rnn: .*takes mean_action_q"),
        ({"beta": 0.0}, "beta=0.0: must be positive"),
        ({"beta": math.nan}, "beta=nan: must be positive"),
        ({"hidden_dim": 0}, "hidden_dim=0: must be positive"),
        ({"observation": "features"}, "observation=features: .*set observation=index"),
        ({"population_info": None}, "needs a game with discrete local states"),
    ],
)
def test_what_it_cannot_serve_is_refused(make_args, changes, message):
    with pytest.raises(UserError, match=message):
        REGISTRY["mean_action_mac"]({}, {}, make_args(**changes))


def test_a_policy_that_is_none_is_refused(make_mac):
    mac = make_mac()
    torch.nn.init.constant_(mac.agent.critic.layers[0].bias, math.nan)
    with pytest.raises(UserError, match="the Boltzmann policy holds NaN"):
        mac.select_actions(make_batch(5), t_ep=1, t_env=0)
