"""The mean-field controller: laws of its actions, symmetry, the policies it plays, and its cost."""

import copy
from types import SimpleNamespace

import pytest
import torch

from mf_pmd.controllers.population_mac import InverseCDFSampler
from mf_pmd.errors import UserError
from mf_pmd.functional.mean_field import mean_field_flow

WORDS = ["env_args.n_agents=60", "env_args.horizon=4"]
FORMS = {
    "table": ("mf_pmd_tabular", []),
    "network": ("mf_pmd", ["hidden_dim=8"]),
    "population": ("mf_pmd", ["hidden_dim=8", "population_dependent=True"]),
}


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.fixture
def make_mac(build):
    """A controller of one of the forms, with K random iterates in its history."""

    def make(form, *words, iterates=5, env="a_beach"):
        alg, own = FORMS[form]
        pieces = build(alg, env, *WORDS, *own, *words)
        mac = pieces.learner.mac
        for seed in range(iterates - 1):
            shake(mac, seed)
            mac.record_iterate()
        return mac

    return make


def shake(mac, seed):
    torch.manual_seed(seed)
    if mac.agent.tabular:
        mac.agent.log_table.copy_(torch.log_softmax(torch.randn_like(mac.agent.log_table), -1))
    for parameter in mac.agent.parameters():
        torch.nn.init.normal_(parameter, std=0.7)


def make_batch(mac, batch_size=3, n_agents=60, seed=0):
    """What a controller reads of the host's batch, at every step."""
    random = torch.Generator().manual_seed(seed)
    states = torch.randint(mac.n_states, (batch_size, mac.horizon + 1, n_agents), generator=random)
    population = torch.nn.functional.one_hot(states, mac.n_states).float().mean(2)
    return {"obs": states.unsqueeze(-1).float(), "state": population}


def start(mac, batch):
    mac.init_hidden(batch["obs"].shape[0])
    return batch


def test_forward_gives_every_agent_the_row_of_its_state(make_mac, form):
    mac = make_mac(form)
    batch = start(mac, make_batch(mac))
    for test_mode, name in ((False, "last"), (True, "tail")):
        for t in range(mac.horizon):
            found = mac.forward(batch, t, test_mode=test_mode)
            assert found.shape == (3, 60, 3)
            assert torch.allclose(found.sum(-1), torch.ones(3, 60))
            for b in range(3):
                rows = mac.scored_policies()[name](t, batch["state"][b, t])
                states = batch["obs"][b, t, :, 0].long()
                assert torch.allclose(found[b], rows[states], atol=1e-6)


def test_training_plays_the_current_parameters(make_mac, form):
    mac = make_mac(form)
    batch = start(mac, make_batch(mac))
    with torch.no_grad():
        rows = mac.log_policy(batch["state"]).exp()
    assert rows.shape == ((3 if form == "population" else 1), mac.horizon, mac.n_states, 3)
    for t in range(mac.horizon):
        states = batch["obs"][:, t, :, 0].long()
        expected = torch.stack([rows.expand(3, -1, -1, -1)[b, t, states[b]] for b in range(3)])
        assert torch.allclose(mac.forward(batch, t), expected, atol=1e-6)


@pytest.mark.parametrize("output_policy", ["last", "average", "tail"])
def test_test_mode_plays_the_mean_of_the_iterates(make_mac, form, output_policy):
    mac = make_mac(form, f"output_policy={output_policy}", iterates=1)
    batch = start(mac, make_batch(mac))
    steps = torch.arange(mac.horizon)
    played = [mac.agent.log_policy(batch["state"][:, :-1], steps, n_states=mac.n_states, horizon=4).exp()]
    for seed in range(6):
        shake(mac, seed)
        mac.record_iterate()
        with torch.no_grad():
            rows = mac.agent.log_policy(batch["state"][:, :-1], steps, n_states=mac.n_states, horizon=4)
        played.append(rows.exp())
    chosen = {"last": played[-1:], "average": played, "tail": played[3:]}[output_policy]
    mean = torch.stack(chosen).mean(0).expand(3, 4, mac.n_states, 3)
    start(mac, batch)
    for t in range(4):
        states = batch["obs"][:, t, :, 0].long()
        expected = torch.stack([mean[b, t, states[b]] for b in range(3)])
        assert torch.allclose(mac.forward(batch, t, test_mode=True), expected, atol=1e-6)


def test_recording_is_seen_without_a_new_batch(make_mac, form):
    mac = make_mac(form)
    batch = start(mac, make_batch(mac))
    before = mac.forward(batch, 0, test_mode=False)
    shake(mac, 77)
    mac.record_iterate()
    assert not torch.allclose(mac.forward(batch, 0, test_mode=False), before)


@pytest.mark.parametrize("test_mode", [False, True])
def test_actions_follow_the_rows(make_mac, assert_laws, form, test_mode):
    mac = make_mac(form)
    batch = start(mac, make_batch(mac, batch_size=2, n_agents=8))
    laws = mac.forward(batch, 1, test_mode=test_mode)
    counts = torch.zeros_like(laws)
    torch.manual_seed(0)
    for _ in range(1500):
        actions = mac.select_actions(batch, t_ep=1, t_env=0, test_mode=test_mode)
        counts += torch.nn.functional.one_hot(actions, 3)
    assert actions.shape == (2, 8)
    assert actions.dtype == torch.int64
    assert_laws(counts.flatten(0, 1), laws.flatten(0, 1).double() / laws.double().flatten(0, 1).sum(-1, True))


def test_the_sampler_draws_agents_independently(assert_laws):
    policy = torch.tensor([[[0.1, 0.0, 0.9], [0.0, 1.0, 0.0], [0.6, 0.4, 0.0]]])
    states = torch.tensor([[0, 0, 1, 2]]).repeat(20_000, 1)
    torch.manual_seed(1)
    actions = InverseCDFSampler().select_action(policy, states)
    counts = torch.nn.functional.one_hot(actions, 3).sum(0)
    assert_laws(counts, policy[0][states[0]])
    pairs = torch.bincount(actions[:, 0] * 3 + actions[:, 3], minlength=9).reshape(3, 3)
    assert_laws(pairs.flatten(), torch.outer(policy[0, 0], policy[0, 2]).flatten())


LARGEST_DRAW = 1 - 2**-24


@pytest.mark.parametrize("draw", [0.0, LARGEST_DRAW])
def test_actions_of_probability_zero_are_never_drawn(monkeypatch, draw):
    # the smallest and the largest number that torch.rand can give; rows that sum to 1 up to rounding
    random = torch.Generator().manual_seed(0)
    rows = torch.softmax(3 * torch.randn(4000, 5, generator=random), -1)
    rows[:2000, 4] = 0.0
    rows[1000:3000, 0] = 0.0
    rows[:, 2] = 0.0
    rows = rows / rows.sum(-1, keepdim=True)
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(tuple(shape), draw))
    states = torch.arange(4000).unsqueeze(0)
    actions = InverseCDFSampler().select_action(rows.unsqueeze(0), states)[0]
    chosen = rows.gather(1, actions.unsqueeze(1))
    assert (chosen > 0).all(), f"{(chosen == 0).sum()} of 4000 rows drew an impossible action"


def test_permuting_agents_permutes_their_probabilities(make_mac, form):
    mac = make_mac(form)
    batch = start(mac, make_batch(mac))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(3))
    permuted = {"obs": batch["obs"][:, :, order], "state": batch["state"]}
    for test_mode in (False, True):
        first, second = (mac.forward(b, 2, test_mode=test_mode) for b in (batch, permuted))
        assert torch.equal(first[:, order], second)


@pytest.mark.parametrize("bs", [[2], [2, 0], slice(1, None), slice(None)])
def test_a_subset_of_the_episodes(make_mac, form, bs):
    mac = make_mac(form)
    shape = mac.forward(start(mac, make_batch(mac)), 0).shape
    sure = torch.full(shape[-1:], -80.0)
    sure[0] = 0.0
    if mac.agent.tabular:  # state s plays action s mod 3, so that actions tell whose they are
        table = torch.full_like(mac.agent.log_table, -80.0)
        for s in range(mac.n_states):
            table[:, s, s % 3] = 0.0
        mac.agent.log_table.copy_(torch.log_softmax(table, -1))
        mac.record_iterate()
    batch = start(mac, make_batch(mac))
    torch.manual_seed(0)
    actions = mac.select_actions(batch, t_ep=3, t_env=0, bs=bs)
    states = batch["obs"][bs, 3, :, 0].long()
    assert actions.shape == states.shape
    if mac.agent.tabular:
        assert torch.equal(actions, states % 3)


def test_a_deep_copy_is_independent(make_mac, form):
    mac = make_mac(form)
    twin = copy.deepcopy(mac)
    batch = start(mac, make_batch(mac))
    before = mac.forward(batch, 1, test_mode=True)
    assert torch.equal(start(twin, batch) and twin.forward(batch, 1, test_mode=True), before)
    shake(twin, 50)
    twin.record_iterate()
    assert not torch.allclose(twin.forward(batch, 1), mac.forward(batch, 1))
    assert torch.equal(start(mac, batch) and mac.forward(batch, 1, test_mode=True), before)
    assert twin.history.count == mac.history.count + 1


def test_load_state_takes_over_what_the_other_plays(make_mac, form):
    mac, other = make_mac(form), make_mac(form, iterates=1)
    shake(other, 123)
    other.record_iterate()
    mac.load_state(other)
    batch = start(mac, make_batch(mac))
    start(other, batch)
    with torch.no_grad():
        assert torch.equal(mac.log_policy(batch["state"]), other.log_policy(batch["state"]))
    assert torch.allclose(mac.forward(batch, 1), other.forward(batch, 1))


def test_a_population_dependent_policy_reads_the_population(make_mac):
    mac = make_mac("population")
    batch = start(mac, make_batch(mac))
    with torch.no_grad():
        assert not torch.allclose(
            mac.forward(batch, 0)[0],
            mac.forward({"obs": batch["obs"], "state": batch["state"].flip(-1)}, 0)[0],
        )
    other = make_mac("network")
    flipped = {"obs": batch["obs"], "state": batch["state"].flip(-1)}
    assert torch.equal(other.forward(batch, 0), other.forward(flipped, 0))


@pytest.mark.parametrize("name", ["last", "average", "tail"])
def test_a_population_dependent_policy_is_scored_along_its_own_flow(make_mac, make_game, name):
    mac = make_mac("population")
    model = make_game("a_beach", horizon=4).mean_field_model()
    flow = mean_field_flow(model, mac.scored_policies()[name])
    nu = model.initial_law
    vectors = mac.history.members(name)
    loop = copy.deepcopy(mac.agent)
    for h in range(4):
        rows = torch.zeros(mac.n_states, 3, dtype=torch.float64)
        for vector in vectors:
            torch.nn.utils.vector_to_parameters(vector, loop.parameters())
            with torch.no_grad():
                logits = loop.log_policy(nu.float().reshape(1, -1), torch.tensor([h]), n_states=10, horizon=4)
            rows += logits[0].exp().double() / len(vectors)
        assert torch.allclose(flow.policy[h], rows, atol=1e-6)
        mu = nu.unsqueeze(-1) * rows
        nu = torch.einsum("sa,sat->t", mu, model.transition(mu))


@pytest.mark.parametrize("form", ["network", "population"])
def test_the_network_runs_on_rows_of_states_whatever_n_is(build, form):
    rows = {}
    for n_agents in (20, 2000):
        alg, own = FORMS[form]
        pieces = build(
            alg, "a_sis", f"env_args.n_agents={n_agents}", "env_args.horizon=3", "test_nepisode=10", *own
        )
        mac, seen = pieces.learner.mac, []
        layers = mac.agent.layers
        layers.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0].shape))
        pieces.runner.run(test_mode=False)
        pieces.runner.run(test_mode=True)
        rows[n_agents] = sum(shape[:-1].numel() for shape in seen)
    assert rows[20] == rows[2000]
    # B * S rows a step in training and in test mode, then S a step of each of three policies scored;
    # none where the table of rows is kept
    assert rows[20] == (2 * 3 * 10 * 2 + 3 * 3 * 2 if form == "population" else 0)


REFUSED = {
    "output_policy": ("output_policy", "best", "last, average, tail"),
    "agent": ("agent", "rnn", "mean_field_network or mean_field_table"),
    "observation": ("observation", "features", "set observation=index"),
    "population_info": ("population_info", None, "runner=population"),
}


@pytest.mark.parametrize(("key", "value", "remedy"), REFUSED.values(), ids=REFUSED)
def test_settings_it_cannot_serve_are_refused(make_mac, key, value, remedy):
    mac = make_mac("network")
    args = SimpleNamespace(**{**vars(mac.args), key: value})
    with pytest.raises(UserError, match=remedy):
        type(mac)({}, {}, args)
