"""The controller of observations: under every runner, its symmetry, its policies, and what it refuses."""

import copy
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mf_pmd.controllers import REGISTRY, ObservationMAC
from mf_pmd.controllers.mean_field_controller import MeanFieldMAC
from mf_pmd.controllers.observation_mac import LogitsSampler
from mf_pmd.errors import DivergenceError, UserError
from mf_pmd.modules.agents import DeepSetNetworkAgent
from mf_pmd.modules.agents.choose import chosen_agent
from mf_pmd.modules.observation_network import IDENTITIES
from mf_pmd.runners.scoring import judged_one_by_one

N, H = 12, 3
WORDS = [f"env_args.n_agents={N}", f"env_args.horizon={H}", "test_nepisode=10", "hidden_dim=8"]
POPULATION = ["population_dependent=True", "embedding_dim=4"]
FORMS = {
    "alone": [],
    "population": POPULATION,
    **{identity: [f"identity={identity}"] for identity in IDENTITIES if identity != "none"},
}


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


@pytest.fixture
def make(build):
    """Runner, controller and learner of mf_ppo on a small game, the controller with random iterates."""

    def pieces(*words, env="a_sis", iterates=1, seed=0):
        made = build("mf_ppo", env, *WORDS, *words)
        mac = made.learner.mac
        for k in range(iterates - 1):
            shake(mac, seed + k)
            mac.record_iterate()
        return made

    return pieces


def shake(mac, seed):
    torch.manual_seed(seed)
    for parameter in mac.agent.parameters():
        torch.nn.init.normal_(parameter, std=0.7)


def rows_of(mac, batch):
    """log pi of all agents at every step, [B, T + 1, N, A]."""
    n_episodes, n_steps = batch.batch_size, batch.max_seq_length
    episodes = torch.arange(n_episodes).repeat_interleave(n_steps)
    steps = torch.arange(n_steps).repeat(n_episodes)
    with torch.no_grad():
        return mac.log_policy(mac.observed(batch, episodes, steps)).unflatten(0, (n_episodes, n_steps))


# What it is given.


@pytest.mark.parametrize("env", ["a_sis", "a_beach", "a_taxi"])
def test_features_made_of_parts_are_those_that_a_batch_would_hold(make, env):
    batches = {view: make(f"observation={view}", env=env) for view in ("index", "features")}
    seen = {}
    for view, pieces in batches.items():
        batch = pieces.runner.run(test_mode=True)  # whose random streams are its own
        mac = pieces.learner.mac
        assert mac.n_features == pieces.args.observation_features == pieces.runner.game.n_features
        seen[view] = mac.observed(batch, torch.tensor([1, 0, 1]), torch.tensor([0, 2, H]))
        assert batch["obs"].shape[-1] == (pieces.runner.game.n_parts if view == "index" else mac.n_features)
        for t in range(H + 1):
            assert torch.allclose(mac.forward(batch, t), rows_of(mac, batch)[:, t].exp(), atol=1e-6)
    assert torch.equal(seen["index"].features, seen["features"].features)
    assert seen["index"].present.all(), "local state 0 is a place to be, not an absence"


def test_some_agents_can_be_observed_alone(make, form):
    pieces = make(*form, env="a_beach", iterates=2)
    mac, batch = pieces.learner.mac, pieces.runner.run(test_mode=False)
    at, some = (torch.tensor([1, 0]), torch.tensor([0, 2])), torch.tensor([5, 0, 7])
    everyone = mac.observed(batch, *at)
    with torch.no_grad():
        every = mac.log_policy(everyone)
        assert torch.allclose(mac.log_policy(everyone, some), every[:, some], atol=1e-6)
        if not mac.population_dependent:
            alone = mac.observed(batch, *at, some)
            assert torch.equal(alone.features, everyone.features[:, some])
            assert torch.allclose(mac.log_policy(alone), every[:, some], atol=1e-6)


def test_nothing_is_paid_for_masks_where_nothing_is_masked(make):
    pieces = make("mask_absent=True")
    batch = pieces.runner.run(test_mode=False)
    observed = pieces.learner.mac.observed(batch, torch.tensor([0, 1]), torch.tensor([1, 1]))
    assert "avail_actions" not in batch.data.stored
    assert observed.available.shape == (2, N, 2)
    assert not any(observed.available.stride())
    assert not any(observed.present.stride())


class Plain:
    """The least of a batch that a controller may touch."""

    def __init__(self, **columns):
        self.columns = columns
        self.batch_size, self.max_seq_length = columns["obs"].shape[:2]
        self.device = "cpu"

    def __getitem__(self, key):
        assert isinstance(key, str)
        return self.columns[key]


A = 4


def make_plain(*, seed=0, n_agents=N, n_features=5, batch_size=3):
    """Observations, absent agents (zeros) and masks, of which nothing but the batch is known."""
    random = torch.Generator().manual_seed(seed)
    obs = torch.randn(batch_size, H + 1, n_agents, n_features, generator=random)
    obs[:, :, 2::3] *= torch.rand(batch_size, H + 1, len(range(2, n_agents, 3)), 1, generator=random) < 0.5
    available = (torch.rand(batch_size, H + 1, n_agents, A, generator=random) < 0.6).int()
    available[..., 1] = 1
    return Plain(obs=obs, avail_actions=available)


def make_args(**changes):
    args = {
        "name": "mf_ppo",
        "mac": "observation_mac",
        "agent": "deep_set_network",
        "identity": "none",
        "population_dependent": False,
        "embedding_dim": 0,
        "hidden_dim": 8,
        "mask_absent": True,
        "observation": "index",
        "output_policy": "last",
        "n_agents": N,
        "n_actions": A,
        "t_max": 100,
        "batch_size_run": 2,
    }
    return SimpleNamespace(**{**args, **changes})


def make_mac(*, seed=0, **changes):
    mac = ObservationMAC({"obs": {"vshape": changes.pop("n_features", 5)}}, {}, make_args(**changes))
    shake(mac, seed)
    mac.record_iterate()
    return mac


SEES = {"population_dependent": True, "embedding_dim": 4}


@pytest.mark.parametrize("bs", [slice(None), [2], [2, 0], slice(1, None)])
def test_unavailable_actions_are_never_taken_and_the_others_follow_the_policy(assert_laws, bs):
    mac, batch = make_mac(**SEES), make_plain()
    mac.init_hidden(3)
    with torch.no_grad():
        laws = mac.forward(batch, 1)[bs]
    available = batch["avail_actions"][bs, 1]
    assert torch.equal(laws > 0, available > 0)
    assert torch.allclose(laws.sum(-1), torch.ones(laws.shape[:-1]))
    counts = torch.zeros_like(laws)
    torch.manual_seed(1)
    for _ in range(300):
        actions = mac.select_actions(batch, t_ep=1, t_env=0, bs=bs)
        assert actions.shape == laws.shape[:-1]
        assert actions.dtype == torch.int64
        counts += torch.nn.functional.one_hot(actions, A)
    often = (laws * 300).masked_fill(laws == 0, 300).amin(-1) > 5
    assert_laws(counts[often], laws[often].double() / laws[often].double().sum(-1, True))
    assert counts[available == 0].sum() == 0


@pytest.mark.parametrize("mask_absent", [True, False])
def test_agents_whose_observation_is_zero_are_not_in_the_mean(mask_absent):
    mac, batch = make_mac(**SEES, mask_absent=mask_absent), make_plain()
    observed = mac.observed(batch, torch.tensor([0]), torch.tensor([1]))
    there = (observed.features != 0).any(-1)
    assert not there.all()
    assert torch.equal(observed.present, there if mask_absent else torch.ones_like(there))
    few = there[0].nonzero().squeeze(-1)
    less = Plain(obs=batch["obs"][:1, :, few], avail_actions=batch["avail_actions"][:1, :, few])
    with torch.no_grad():
        found, alone = mac.forward(batch, 1)[:1, few], mac.forward(less, 1)
    assert torch.allclose(found, alone, atol=1e-6) is mask_absent


@pytest.mark.parametrize("changes", [{}, SEES])
def test_permuting_agents_permutes_their_probabilities(changes):
    mac, batch = make_mac(**changes), make_plain()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    permuted = Plain(obs=batch["obs"][:, :, order], avail_actions=batch["avail_actions"][:, :, order])
    with torch.no_grad():
        first, second = mac.forward(batch, 2), mac.forward(permuted, 2)
    assert torch.allclose(first[:, order], second, atol=1e-6)
    assert not torch.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("words", [POPULATION, ["output_policy=tail"], ["identity=own_network"]])
def test_it_plays_any_environment_under_another_runner(make, lamps, words):
    env = lamps(horizon=H, gamma=0.9)
    pieces = make(*words, "env_args.n_agents=5", "mask_absent=True", env=env, iterates=3)
    mac = pieces.learner.mac
    assert mac.horizon == H
    assert mac.n_features == 2
    for test_mode in (False, True):
        batch = pieces.runner.run(test_mode=test_mode)
        there = (batch["obs"] != 0).any(-1)
        assert 0 < there.sum() < there.numel()
        observed = mac.observed(batch, torch.tensor([0, 1]), torch.tensor([2, 0]))
        assert torch.equal(observed.present, there[[0, 1], [2, 0]])
    assert not hasattr(pieces.args, "population_info")


def test_observations_that_change_size_are_refused(make, lamps):
    pieces = make("env_args.n_agents=5", env=lamps(horizon=H, grows=True))
    with pytest.raises(
        UserError, match=r"^env=lamps: get_obs gave shape \(5, 3\) at step 1 where .* \(5, 2\); .* pad"
    ):
        pieces.runner.run(test_mode=False)


def test_rows_of_several_sizes_are_refused(make, lamps, monkeypatch):
    pieces = make("env_args.n_agents=5", env=lamps(horizon=H))
    monkeypatch.setattr(
        type(pieces.runner.envs[0]), "get_obs", lambda self: [np.zeros(2 + i) for i in range(5)]
    )
    with pytest.raises(UserError, match=r"^env=lamps: get_obs gave rows of several sizes at step 0 where "):
        pieces.runner.run(test_mode=False)


def test_an_observation_is_converted_once(make, lamps, monkeypatch):
    class Row:
        converted = 0

        def __array__(self, dtype=None, copy=None):
            Row.converted += 1
            return np.zeros(2, dtype=np.float32)

    pieces = make("env_args.n_agents=5", env=lamps(horizon=H))
    monkeypatch.setattr(type(pieces.runner.envs[0]), "get_obs", lambda self: [Row() for _ in range(5)])
    batch = pieces.runner.run(test_mode=False)
    assert Row.converted == 5 * batch["filled"].sum()


def test_it_plays_a_population_game_under_another_runner(make):
    pieces = make("runner=episode", "batch_size_run=2", "batch_size=2", "buffer_size=2", env="a_beach")
    batch = pieces.runner.run(test_mode=False)
    game_features = 2 * 10 + 1
    assert pieces.learner.mac.n_features == batch["obs"].shape[-1] == game_features
    assert pieces.learner.mac.scored_policies() == {}


# What it plays.


def test_the_sampler_follows_the_logits(assert_laws):
    logits = torch.tensor([[0.0, -1e10, 2.0, -1.0], [-1e10, 5.0, -1e10, -1e10], [3.0, 3.0, -torch.inf, 1.0]])
    torch.manual_seed(0)
    actions = LogitsSampler().select_action(logits.expand(20_000, 3, 4))
    counts = torch.nn.functional.one_hot(actions, 4).sum(0)
    assert_laws(counts, torch.softmax(logits.double(), -1))
    pairs = torch.bincount(actions[:, 0] * 4 + actions[:, 2], minlength=16)
    assert_laws(pairs, torch.outer(*torch.softmax(logits[[0, 2]].double(), -1)).flatten())


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-24])
def test_impossible_actions_are_not_drawn_by_rounding(monkeypatch, draw):
    # the smallest and the largest number that torch.rand can give
    logits = 3 * torch.randn(4000, 5, generator=torch.Generator().manual_seed(0))
    logits[3000:] = 0.0  # sums that are whole numbers, powers of 2 among them
    logits[3000:3500, 1] = -1e10
    logits[:2000, 4] = -1e10
    logits[1000:3000, 0] = -1e10
    logits[:, 2] = -1e10
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(tuple(shape), draw))
    actions = LogitsSampler().select_action(logits)
    assert (logits.gather(1, actions.unsqueeze(1)) > -1e9).all()


@pytest.mark.parametrize("output_policy", ["last", "average", "tail"])
def test_test_mode_plays_the_mean_of_the_iterates(make, form, output_policy, assert_laws):
    pieces = make(*form, f"output_policy={output_policy}", env="a_beach")
    mac, batch = pieces.learner.mac, pieces.runner.run(test_mode=False)
    played = [rows_of(mac, batch).exp()]
    for seed in range(4):
        shake(mac, seed)
        mac.record_iterate()
        played.append(rows_of(mac, batch).exp())
    chosen = {"last": played[-1:], "average": played, "tail": played[2:]}[output_policy]
    mean = torch.stack(chosen).mean(0)
    for t in range(H):
        with torch.no_grad():
            assert torch.allclose(mac.forward(batch, t, test_mode=True), mean[:, t], atol=1e-5)
            assert torch.allclose(mac.forward(batch, t), played[-1][:, t], atol=1e-5)
    counts = torch.zeros_like(mean[:2, 1])
    for _ in range(60):
        actions = mac.select_actions(batch, t_ep=1, t_env=0, bs=[0, 1], test_mode=True)
        counts += torch.nn.functional.one_hot(actions, mac.n_actions)
    # all agents pooled by their likeliest action, so that few draws tell much
    order = mean[:2, 1].sort(-1, descending=True).indices
    pooled = counts.gather(-1, order).flatten(0, 1).sum(0)
    law = mean[:2, 1].gather(-1, order).flatten(0, 1).double().mean(0)
    assert_laws(pooled, law / law.sum())


def test_what_is_recorded_is_played_at_once(make):
    pieces = make("output_policy=average", env="a_beach")
    mac, batch = pieces.learner.mac, pieces.runner.run(test_mode=False)
    before = mac.forward(batch, 0, test_mode=True)
    shake(mac, 5)
    mac.record_iterate()
    assert not torch.allclose(mac.forward(batch, 0, test_mode=True), before)


@pytest.mark.parametrize("identity", IDENTITIES)
def test_who_knows_who_they_are_is_judged_one_by_one(identity):
    mac = make_mac(identity=identity)
    assert mac.shares_policy is (identity == "none")
    assert judged_one_by_one(mac, make_args(obs_agent_id=False, agent="deep_set_network")) is (
        identity != "none"
    )


@pytest.mark.parametrize("words", [[], POPULATION])
def test_what_is_scored_is_what_agents_in_every_state_play(make, words):
    pieces = make(*words, "output_policy=tail", env="a_beach", iterates=4)
    mac, batch = pieces.learner.mac, pieces.runner.run(test_mode=False)
    told = mac.scored_policies()
    assert set(told) == {"last", "tail"}
    for t in range(H):
        with torch.no_grad():
            played = {"last": mac.forward(batch, t), "tail": mac.forward(batch, t, test_mode=True)}
        for b in range(2):
            states = batch["obs"][b, t, :, 0].long()
            for name, rows in played.items():
                table = told[name](t, batch["state"][b, t].double())
                assert table.shape == (10, 3)
                assert torch.allclose(table[states], rows[b], atol=1e-5)


@pytest.mark.parametrize("words", [[], ["observation=features"], ["env_args.eps=0.0", *POPULATION]])
def test_a_numbered_game_is_scored_exactly(make, words):
    pieces = make(*words)
    pieces.runner.run(test_mode=True)
    series = pieces.runner.logger.series
    uniform = series["uniform_mean_field_exploitability"][0][1]
    told = series["test_mean_field_exploitability_last"][0][1]
    assert told == pytest.approx(uniform, rel=1e-5)  # the first policy is uniform
    assert "test_mean_field_exploitability_average" not in series


@pytest.mark.parametrize("words", [["identity=one_hot"], ["identity=own_network"]])
def test_policies_of_many_are_not_told_as_one(make, words):
    assert make(*words).learner.mac.scored_policies() == {}


# What it refuses.

SETTINGS = {
    "identity": ({"identity": "name"}, "identity=name: choose one of none, one_hot, number, own_network"),
    "output_policy": ({"output_policy": "best"}, "output_policy=best: choose one of last, average, tail"),
    "hidden_dim": ({"hidden_dim": 0}, "hidden_dim=0: must be at least 1"),
    "embedding_dim": ({"embedding_dim": -1}, "embedding_dim=-1: must be 0 (none) or more"),
    "own_network": (
        {"identity": "own_network", "embedding_dim": 4},
        "embedding_dim=4: with identity=own_network N networks would each embed N agents, set "
        "embedding_dim=0",
    ),
    "population": (
        {"population_dependent": True},
        "population_dependent=True, embedding_dim=0: the policy sees the population through the embedding, "
        "set embedding_dim above 0 or population_dependent=False",
    ),
    "memory": (
        {
            "identity": "own_network",
            "output_policy": "tail",
            "n_agents": 1000,
            "t_max": 12800,
            "hidden_dim": 64,
            "episode_limit": 10,
        },
        "output_policy=tail: 321 iterates of 4,804,000 parameters are 5.7 GiB in memory and in every "
        "checkpoint (at most 2), set output_policy=last",
    ),
}


@pytest.mark.parametrize(("changes", "message"), SETTINGS.values(), ids=SETTINGS)
def test_settings_it_cannot_serve_are_refused(changes, message):
    with pytest.raises(UserError) as caught:
        make_mac(**changes)
    assert str(caught.value) == message


def test_an_observation_that_changes_size_is_refused():
    mac = make_mac()
    with pytest.raises(UserError) as caught:
        mac.select_actions(make_plain(n_features=6), t_ep=0, t_env=0)
    assert str(caught.value) == (
        "an observation holds 6 numbers, the network takes 5: the observations of an environment must not "
        "change size while it is played"
    )


@pytest.mark.parametrize("identity", IDENTITIES)
def test_only_agents_without_an_index_may_be_more_or_fewer(identity):
    mac, more = make_mac(identity=identity), make_plain(n_agents=N + 2)
    if identity == "none":
        assert mac.select_actions(more, t_ep=0, t_env=0).shape == (3, N + 2)
        return
    with pytest.raises(UserError) as caught:
        mac.select_actions(more, t_ep=0, t_env=0)
    assert str(caught.value) == (
        "14 agents act, and the network knows 12 by their index: only identity=none plays among any number "
        "of agents"
    )


@pytest.mark.parametrize("test_mode", [False, True])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_logits_that_are_no_numbers_stop_training(value, test_mode):
    mac = make_mac(output_policy="tail")
    mac.agent.network.last.bias.data[1] = value
    for _ in range(5):
        mac.record_iterate()
    with pytest.raises(DivergenceError, match=r"^the policy's logits hold NaN or infinity: training div"):
        mac.select_actions(make_plain(), t_ep=0, t_env=0, test_mode=test_mode)


def test_a_device_that_is_not_waited_for_tells_before_the_next_batch():
    mac = make_mac()
    mac._finite = torch.tensor(False)  # what a GPU leaves behind
    with pytest.raises(DivergenceError, match="NaN or infinity"):
        mac.init_hidden(batch_size=2)


def test_a_game_whose_features_change_size_is_refused_while_it_is_played(make):
    pieces = make(env="a_beach")
    mac, whole = pieces.learner.mac, pieces.learner.mac.make_features
    mac.make_features = lambda parts, population, progress: whole(parts, population, progress)[
        ..., : -1 if progress[0] > 0 else None
    ]
    with pytest.raises(UserError, match=r"^an observation holds 20 numbers, the network takes 21: "):
        pieces.runner.run(test_mode=False)


# Checkpoints.


def train_a_little(make, folder, *words, env="a_sis"):
    mac = make(*words, env=env, iterates=4).learner.mac
    folder.mkdir()
    mac.save_models(str(folder))
    return mac


def test_a_checkpoint_is_what_it_was(make, form, tmp_path):
    mac = train_a_little(make, tmp_path / "a", *form, "output_policy=tail", env="a_beach")
    pieces = make(*form, "output_policy=tail", env="a_beach", iterates=2, seed=50)
    batch = pieces.runner.run(test_mode=False)
    restored = pieces.learner.mac
    restored.load_models(str(tmp_path / "a"))
    for test_mode in (False, True):
        assert torch.equal(mac.forward(batch, 1, test_mode), restored.forward(batch, 1, test_mode))
    assert restored.history.count == mac.history.count
    saved = torch.load(tmp_path / "a" / "policy.th", weights_only=True)
    vector = torch.nn.utils.parameters_to_vector(mac.agent.parameters())
    assert torch.equal(saved["history"]["window"][-1], vector)
    meta = saved["meta"]
    agent = DeepSetNetworkAgent(meta["n_features"], SimpleNamespace(**meta))
    agent.load_state_dict(torch.load(tmp_path / "a" / "agent.th", weights_only=True))
    for mine, theirs in zip(agent.parameters(), mac.agent.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_with_the_last_policy_no_iterate_is_kept(make, tmp_path):
    mac = train_a_little(make, tmp_path / "a")
    assert mac.history.window == []
    assert torch.load(tmp_path / "a" / "policy.th", weights_only=True)["history"] is None


def test_nobody_without_an_index_notices_how_many_they_are(make, tmp_path):
    mac = train_a_little(make, tmp_path / "a", *POPULATION, env="a_beach")
    pieces = make(*POPULATION, "env_args.n_agents=30", env="a_beach")
    pieces.learner.mac.load_models(str(tmp_path / "a"))
    first, second = mac.scored_policies()["last"], pieces.learner.mac.scored_policies()["last"]
    nu = torch.softmax(torch.randn(10, dtype=torch.float64), 0)
    assert torch.equal(first(1, nu), second(1, nu))
    pieces.runner.run(test_mode=True)


@pytest.mark.parametrize("identity", ["one_hot", "own_network"])
def test_an_index_means_nothing_in_another_population(make, tmp_path, identity):
    train_a_little(make, tmp_path / "a", f"identity={identity}")
    mac = make(f"identity={identity}", "env_args.n_agents=14").learner.mac
    with pytest.raises(UserError) as caught:
        mac.load_models(str(tmp_path / "a"))
    assert str(caught.value) == (
        f"checkpoint_path={tmp_path / 'a'}: trained with n_agents=12, this run has 14: identity={identity} "
        "knows those agents and no others; only identity=none is the same policy among any number of agents, "
        "identity=number runs with its numbers spread anew"
    )


def test_numbers_are_spread_anew_with_a_warning(make, tmp_path, caplog):
    trained = train_a_little(make, tmp_path / "a", "identity=number", env="a_beach")
    pieces = make("identity=number", "env_args.n_agents=23", env="a_beach")
    logger = logging.getLogger("mf_pmd")
    logger.addHandler(caplog.handler)
    pieces.learner.mac.load_models(str(tmp_path / "a"))
    logger.removeHandler(caplog.handler)
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line == (
        f"checkpoint_path={tmp_path / 'a'}: trained with n_agents=12, this run has 23: identity=number shows "
        "agent i the number i / (N - 1), now another agent's; only identity=none is the same policy among "
        "any number of agents"
    )
    features = torch.randn(1, 1, trained.n_features)  # agents 5 of 12 and 10 of 23 have one number
    with torch.no_grad():
        first = trained.agent(features, None, torch.tensor([5]))
        second = pieces.learner.mac.agent(features, None, torch.tensor([10]))
    assert torch.allclose(first, second)


HERE = "load it with the settings it was trained with"
OTHER = {
    "hidden_dim": (["hidden_dim=9"], f"its hidden_dim is 8, this run's is 9; {HERE}"),
    "identity": (["identity=number"], f"its identity is none, this run's is number; {HERE}"),
    "embedding_dim": (["embedding_dim=3"], f"its embedding_dim is 0, this run's is 3; {HERE}"),
    "horizon": (["env_args.horizon=5"], f"its horizon is 3, this run's is 5; {HERE}"),
    "mask_absent": (["mask_absent=True"], f"its mask_absent is False, this run's is True; {HERE}"),
    "output_policy": (
        ["output_policy=tail"],
        "keeps the iterates of output_policy=last, which are too few for output_policy=tail; set "
        "output_policy=last",
    ),
}


@pytest.mark.parametrize(("words", "message"), OTHER.values(), ids=OTHER)
def test_a_checkpoint_of_other_settings_is_refused(make, tmp_path, words, message):
    train_a_little(make, tmp_path / "a")
    mac = make(*words).learner.mac
    before = copy.deepcopy(mac.agent.state_dict())
    with pytest.raises(UserError) as caught:
        mac.load_models(str(tmp_path / "a"))
    assert str(caught.value) == f"checkpoint_path={tmp_path / 'a'}: {message}"
    assert all(torch.equal(value, before[name]) for name, value in mac.agent.state_dict().items())


def test_a_checkpoint_of_another_game_is_refused(make, tmp_path):
    train_a_little(make, tmp_path / "a", env="a_beach")
    mac = make("env_args.key=a_rps", "env_args.eps=0.1", env="a_rps").learner.mac
    with pytest.raises(UserError) as caught:
        mac.load_models(str(tmp_path / "a"))
    assert str(caught.value) == (
        f"checkpoint_path={tmp_path / 'a'}: its networks read observations of 21 numbers, this run's have 7; "
        "show agents what they saw in training (env_args.observe_density, say)"
    )


def test_observations_of_another_size_are_refused_when_a_checkpoint_is_loaded(make, tmp_path):
    mac = train_a_little(make, tmp_path / "a", env="a_taxi")
    other = make("env_args.observe_density=True", env="a_taxi").learner.mac
    with pytest.raises(UserError) as caught:
        other.load_models(str(tmp_path / "a"))
    assert str(caught.value) == (
        f"checkpoint_path={tmp_path / 'a'}: its networks read observations of {mac.n_features} numbers, this "
        f"run's have {other.n_features}; show agents what they saw in training "
        "(env_args.observe_density, say)"
    )


def test_policies_of_local_states_and_of_observations_are_not_mixed_up(build, tmp_path):
    macs = {}
    for agent in ("mean_field_network", "deep_set_network"):
        macs[agent] = build("mf_pmd", "a_sis", *WORDS, f"agent={agent}").learner.mac
        (tmp_path / agent).mkdir()
        macs[agent].save_models(str(tmp_path / agent))
    with pytest.raises(UserError) as caught:
        macs["deep_set_network"].load_models(str(tmp_path / "mean_field_network"))
    assert str(caught.value) == (
        f"checkpoint_path={tmp_path / 'mean_field_network'}: its agent is mean_field_network, a policy of "
        "numbered local states, this run's is deep_set_network; set agent as in training"
    )
    with pytest.raises(UserError, match="its agent is deep_set_network, this run's is mean_field_network"):
        macs["mean_field_network"].load_models(str(tmp_path / "deep_set_network"))


# Copies.


def test_copies_are_independent_and_states_are_taken_over(make, form):
    pieces = make(*form, "output_policy=average", env="a_beach", iterates=3)
    mac, batch = pieces.learner.mac, pieces.runner.run(test_mode=False)
    twin = copy.deepcopy(mac)
    before = mac.forward(batch, 1, test_mode=True)
    shake(twin, 9)
    twin.record_iterate()
    assert torch.equal(mac.forward(batch, 1, test_mode=True), before)
    assert not torch.allclose(twin.forward(batch, 1, test_mode=True), before)
    mac.load_state(twin)
    for test_mode in (False, True):
        assert torch.equal(mac.forward(batch, 1, test_mode), twin.forward(batch, 1, test_mode))


# Which controller.


def test_auto_takes_tables_of_states_where_there_are_any(build):
    kinds = {
        ("a_taxi", "auto"): ObservationMAC,
        ("a_sis", "deep_set_network"): ObservationMAC,
        ("a_sis", "mean_field_network"): MeanFieldMAC,
        ("a_sis", "auto"): MeanFieldMAC,
    }
    for (env, agent), kind in kinds.items():
        pieces = build("mf_pmd", env, *WORDS, f"agent={agent}")
        assert type(pieces.learner.mac) is kind
    assert chosen_agent(SimpleNamespace(agent="auto")) == "deep_set_network"
    assert chosen_agent(SimpleNamespace(agent="soft_q_network", population_info=None)) == "soft_q_network"
    pieces.args.agent = "rnn"
    with pytest.raises(UserError, match=r"^agent=rnn: a mean-field controller takes .*mean_field_network"):
        REGISTRY["mean_field_mac"]({}, {}, pieces.args)
