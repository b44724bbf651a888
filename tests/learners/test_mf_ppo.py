"""mf_ppo and the identity ladder: what is learnt from whom, refusals, divergence, resuming bit for bit."""

import json
import math

import pytest
import torch

from mf_pmd.errors import DivergenceError, UserError
from mf_pmd.functional.gae import generalised_advantages
from mf_pmd.host import run
from mf_pmd.learners import mf_ppo

EPOCH = 40  # 10 episodes of 4 steps
GAME = ["env_args.n_agents=30", "env_args.horizon=4", "test_nepisode=10", f"test_interval={3 * EPOCH}"]
SMALL = [*GAME, "hidden_dim=8", "epochs=2"]
FEW = "learn_agents=5"
LADDER = ("mf_ppo", "mf_ppo_oh", "mf_ppo_id", "mf_ppo_ind")
INTERVALS = [f"{key}={EPOCH}" for key in ("runner_log_interval", "learner_log_interval")]
FORMS = {
    "Symm-NN": ("mf_ppo", [FEW]),
    "Symm-NN of the population": ("mf_ppo", [FEW, "embedding_dim=3", "population_dependent=True"]),
    "OH-NN": ("mf_ppo_oh", [FEW]),
    "ID-NN": ("mf_ppo_id", [FEW]),
    "Ind-NN": ("mf_ppo_ind", []),
}


@pytest.fixture(params=LADDER)
def alg(request):
    return request.param


@pytest.fixture
def short(configure):
    """The configuration of a short run."""

    def load(alg, *words, env="a_sis"):
        few = [] if alg == "mf_ppo_ind" else [FEW]
        return configure(alg, env, *SMALL, *few, *INTERVALS, *words)

    return load


@pytest.fixture
def small(build):
    """The pieces of a short run."""

    def make(alg, *words, env="a_sis"):
        few = [] if alg == "mf_ppo_ind" else [FEW]
        return build(alg, env, *SMALL, *few, *words)

    return make


@pytest.fixture
def learner_and_batch(small, shake):
    """A learner whose networks say something, and a batch that its policy played."""

    def make(alg, *words, env="a_sis"):
        pieces = small(alg, *words, env=env)
        shake(pieces.learner.mac.agent, 1)
        shake(pieces.learner.critic, 2)
        return pieces.learner, pieces.runner.run(test_mode=False)

    return make


def metrics(result):
    return json.loads((result.results_dir / "metrics.json").read_text())


def parameters(learner):
    parts = (learner.mac.agent, learner.critic)
    return [p.detach().clone() for part in parts for p in part.parameters()]


# Who is learnt from.


def test_the_agents_learnt_from_are_drawn_anew(small):
    learner = small("mf_ppo").learner
    torch.manual_seed(0)
    drawn = [learner.drawn_agents("cpu") for _ in range(100)]
    assert all(len(who.unique()) == 5 for who in drawn)
    assert all(who.equal(who.sort().values) for who in drawn)
    assert torch.cat(drawn).unique().tolist() == list(range(30))


@pytest.mark.parametrize("words", [["learn_agents=0"], ["learn_agents=30"], ["learn_agents=31"]])
def test_all_agents_are_learnt_from_when_asked(small, words):
    assert small("mf_ppo", *words).learner.drawn_agents("cpu") is None


@pytest.mark.parametrize("alg", LADDER[:3])
@pytest.mark.parametrize("embedding", [0, 3])
def test_some_agents_are_told_what_they_are_told_among_all(learner_and_batch, alg, embedding):
    learner, batch = learner_and_batch(alg, f"embedding_dim={embedding}")
    rows = torch.tensor([3, 0, 7]), torch.tensor([0, 3, 1])
    who = torch.tensor([2, 11, 29])
    everybody, some = learner.evaluate(batch, *rows, None), learner.evaluate(batch, *rows, who)
    torch.testing.assert_close(some.values, everybody.values[:, who])
    torch.testing.assert_close(some.log_policy, everybody.log_policy[:, who])
    assert everybody.values.std() > 0.01


def test_the_critic_embeds_those_it_does_not_learn_from(learner_and_batch):
    learner, batch = learner_and_batch("mf_ppo", "embedding_dim=3", "population_dependent=True")
    rows, who = (torch.tensor([0]), torch.tensor([2])), torch.tensor([4, 5])
    before = learner.evaluate(batch, *rows, who)
    changed = {key: batch[key].clone() for key in ("obs", "state", "avail_actions")}
    changed["obs"][0, 2, 20] = 1 - changed["obs"][0, 2, 20]
    after = learner.evaluate(changed, *rows, who)
    assert not torch.allclose(before.values, after.values)
    assert not torch.allclose(before.log_policy, after.log_policy)
    after.values.sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in learner.critic.network.feature.parameters())


def test_nothing_but_the_agents_drawn_is_read(learner_and_batch, monkeypatch):
    """What the others were paid and did makes no difference."""
    learnt = []
    for poison in (False, True):
        learner, batch = learner_and_batch("mf_ppo")
        who = torch.tensor([1, 2, 3])
        monkeypatch.setattr(learner, "drawn_agents", lambda device, who=who: who)
        if poison:
            batch["reward"][:, :, 4:] = torch.nan
            batch["actions"][:, :, 0] = 1 - batch["actions"][:, :, 0]
        torch.manual_seed(0)
        learner.train(batch, t_env=EPOCH, episode_num=10)
        learnt.append(parameters(learner))
    assert all(map(torch.equal, *learnt))


def test_the_order_of_agents_changes_nothing(small):
    learnt = []
    for order in (torch.arange(30), torch.randperm(30, generator=torch.Generator().manual_seed(0))):
        pieces = small("mf_ppo", "learn_agents=0", "embedding_dim=3")
        batch = pieces.runner.run(test_mode=False)
        seen = {key: batch[key][:, :, order] for key in ("obs", "actions", "reward", "avail_actions")}
        for key in ("state", "filled", "terminated"):
            seen[key] = batch[key]
        torch.manual_seed(0)
        pieces.learner.train(Columns(seen), t_env=EPOCH, episode_num=10)
        learnt.append(parameters(pieces.learner))
    for one, other in zip(*learnt, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


class Columns(dict):
    """Columns of a batch that was changed."""

    batch_size, device = 10, "cpu"


def test_networks_of_their_own_learn_from_their_own_agent(learner_and_batch):
    learnt = []
    for factor in (1.0, 0.0):
        learner, batch = learner_and_batch("mf_ppo_ind")
        batch["reward"][:, :, 7] *= factor
        learner.scale.update(torch.tensor([-1.0, 1.0]).repeat(10**6))  # the unit stays what it is
        torch.manual_seed(0)
        learner.train(batch, t_env=EPOCH, episode_num=10)
        learnt.append(parameters(learner))
    for one, other in zip(*learnt, strict=True):
        others = torch.arange(30) != 7
        torch.testing.assert_close(one[others], other[others], atol=1e-4, rtol=1e-3)
    assert any((one[7] - other[7]).abs().max() > 1e-3 for one, other in zip(*learnt, strict=True))


# What it learns.


def test_the_batch_is_played_back(learner_and_batch):
    learner, batch = learner_and_batch("mf_ppo", "learn_agents=0")
    learner.scale.update(torch.tensor([1.0, 5.0]))
    played = learner.play_back(batch, None)
    assert played.values.shape == played.log_probs.shape == (10, 5, 30)
    for t in range(4):
        policy = learner.mac.forward(batch, t)
        taken = policy.gather(-1, batch["actions"][:, t].long()).squeeze(-1)
        torch.testing.assert_close(played.log_probs[:, t].exp(), taken)
        rows = torch.arange(10), torch.full((10,), t)
        values = 3 + 2 * learner.evaluate(batch, *rows, None).values
        torch.testing.assert_close(played.values[:, t], values)


def test_pieces_of_any_size_play_back_the_same(learner_and_batch, monkeypatch):
    learner, batch = learner_and_batch("mf_ppo")
    who = torch.tensor([3, 8])
    at_once = learner.play_back(batch, who)
    monkeypatch.setattr(mf_ppo, "MOST_FEATURES", 1)
    one_by_one = learner.play_back(batch, who)
    for field in ("values", "log_probs", "present"):
        torch.testing.assert_close(getattr(at_once, field), getattr(one_by_one, field))


def test_advantages_are_of_the_agents_own_rewards(learner_and_batch):
    learner, batch = learner_and_batch("mf_ppo", "gamma=0.9", "gae_lambda=0.5")
    who = torch.tensor([3, 8])
    played = learner.play_back(batch, who)
    counts = mf_ppo.counted(batch, played.present)
    assert counts.all()
    found = learner.advantages(batch, who, played, counts)
    expected = generalised_advantages(
        batch["reward"][:, :4][..., who],
        played.values,
        counts,
        torch.tensor([0, 0, 0, 1]).reshape(1, 4, 1).expand(10, 4, 1),
        gamma=0.9,
        lam=0.5,
    )
    torch.testing.assert_close(found.advantages, expected.advantages)


def test_absent_agents_and_steps_after_the_end_are_left_out():
    batch = {"filled": torch.ones(1, 4, 1), "terminated": torch.zeros(1, 4, 1)}
    batch["terminated"][0, 1] = 1
    present = torch.tensor([[True, True], [True, False], [True, True], [True, True]]).unsqueeze(0)
    expected = [[True, True], [True, False], [False, False]]
    assert mf_ppo.counted(batch, present)[0].tolist() == expected


def test_what_is_measured(learner_and_batch):
    learner, batch = learner_and_batch("mf_ppo", "learn_agents=0", "lr=1e-9", "gae_lambda=1.0")
    played = learner.play_back(batch, None)
    to_go = batch["reward"][:, :-1].flip(1).cumsum(1).flip(1)
    error = to_go - played.values[:, :-1]
    measured = learner.learn(batch)
    assert measured["td_error_abs"] == pytest.approx(error.abs().mean().item(), rel=1e-4)
    assert measured["advantage_std"] == pytest.approx(error.std(correction=0).item(), rel=1e-4)
    explained = 1 - (error.var() / to_go.var()).item()
    assert measured["explained_variance"] == pytest.approx(explained, rel=1e-3)
    assert measured["approx_kl"] == pytest.approx(0, abs=1e-6)
    assert measured["clip_fraction"] == 0
    policy = torch.stack([learner.mac.forward(batch, t) for t in range(4)])
    entropy = -(policy * policy.log()).sum(-1).mean().item()
    assert measured["policy_entropy"] == pytest.approx(entropy, rel=1e-4)


def test_the_unit_of_the_critic_is_that_of_the_returns(learner_and_batch):
    learner, batch = learner_and_batch("mf_ppo", "learn_agents=0", "gae_lambda=1.0")
    learner.learn(batch)
    to_go = batch["reward"][:, :-1].flip(1).cumsum(1).flip(1).double()
    assert learner.scale.mean == pytest.approx(to_go.mean().item(), rel=1e-4)
    assert learner.scale.deviation == pytest.approx(to_go.std(correction=0).item(), rel=1e-4)


def test_the_sample_is_not_written_to(small, alg):
    pieces = small(alg)
    batch = pieces.runner.run(test_mode=False)
    keys = ("obs", "state", "actions", "reward", "terminated", "filled")
    before = {key: batch[key].clone() for key in keys}
    pieces.learner.train(batch, t_env=EPOCH, episode_num=10)
    assert all(torch.equal(batch[key], value) for key, value in before.items())


# What it owes.


@pytest.mark.parametrize("form", FORMS)
def test_resuming_equals_not_stopping_bit_for_bit(configure, checkpoint_entries, form):
    alg, words = FORMS[form]

    def short(*more):
        return configure(alg, "a_sis", *SMALL, *INTERVALS, *words, *more)

    whole = run.train(short(f"t_max={6 * EPOCH}"))
    first = run.train(short(f"t_max={3 * EPOCH}"))
    second = run.train(short(f"t_max={6 * EPOCH}", f"checkpoint_path={first.models_dir}"))
    expected, reached = checkpoint_entries(whole.checkpoint), checkpoint_entries(second.checkpoint)
    assert expected.keys() == reached.keys()
    assert any("exp_avg" in name for name in expected)  # the optimiser's memory is there
    for name, value in expected.items():
        same = torch.equal(value, reached[name]) if torch.is_tensor(value) else value == reached[name]
        assert same, name
    ours, theirs = metrics(second), metrics(whole)
    for key in ("td_error_abs", "critic_loss", "policy_entropy", "test_return_mean"):
        assert ours[key]["values"][-1] == theirs[key]["values"][-1], key


@pytest.mark.parametrize("alg", ["mf_ppo", "mf_ppo_ind"])
def test_evaluating_scores_what_was_saved(short, alg):
    first = run.train(short(alg, f"t_max={2 * EPOCH}"))
    again = run.train(short(alg, f"checkpoint_path={first.checkpoint}", "evaluate=True"))
    for key in ("test_return_mean", "test_mean_field_exploitability"):
        assert metrics(again)[key]["values"] == metrics(first)[key]["values"][-1:]


def test_one_policy_for_all_serves_any_number_of_agents(short):
    first = run.train(short("mf_ppo", f"t_max={EPOCH}"))
    words = (f"checkpoint_path={first.checkpoint}", "env_args.n_agents=17", f"t_max={3 * EPOCH}")
    assert run.train(short("mf_ppo", *words)).t_env == 3 * EPOCH


@pytest.mark.parametrize("alg", ["mf_ppo_oh", "mf_ppo_ind"])
def test_an_index_serves_the_agents_it_was_learnt_for(short, alg):
    first = run.train(short(alg, f"t_max={EPOCH}"))
    words = (f"checkpoint_path={first.checkpoint}", "env_args.n_agents=17", f"t_max={3 * EPOCH}")
    with pytest.raises(UserError, match="n_agents"):
        run.train(short(alg, *words))


def test_rungs_of_the_ladder_do_not_take_each_others_checkpoints(short):
    first = run.train(short("mf_ppo_oh", f"t_max={EPOCH}"))
    for alg, words in (("mf_ppo", []), ("mf_ppo_oh", ["identity=number"])):
        with pytest.raises(UserError, match="checkpoint_path"):
            run.train(short(alg, f"t_max={9 * EPOCH}", f"checkpoint_path={first.checkpoint}", *words))


REFUSED = [
    ("mf_ppo", ["buffer_size=20"], r"batch_size_run=10, batch_size=10, buffer_size=20: .*set all three"),
    ("mf_ppo", ["common_reward=True"], r"common_reward=True: .*set common_reward=False"),
    ("mf_ppo", ["obs_agent_id=True"], r"obs_agent_id=True: .*set obs_agent_id=False"),
    ("mf_ppo", ["lr=0.0"], r"lr=0.0: must be positive"),
    ("mf_ppo", ["gamma=0.0"], r"gamma=0.0: must be positive"),
    ("mf_ppo", ["gamma=1.01"], r"gamma=1.01: "),
    ("mf_ppo", ["gae_lambda=-0.1"], r"gae_lambda=-0.1: must lie between 0 and 1"),
    ("mf_ppo", ["eps_clip=0.0"], r"eps_clip=0.0: must be positive"),
    ("mf_ppo", ["epochs=0"], r"epochs=0: must be at least 1"),
    ("mf_ppo", ["minibatches=0"], r"minibatches=0: must be at least 1"),
    ("mf_ppo", ["entropy_coef=-1.0"], r"entropy_coef=-1.0: must not be negative"),
    ("mf_ppo", ["learn_agents=-1"], r"learn_agents=-1: must not be negative; 0 is all"),
    ("mf_ppo", ["critic_type=deep_set_q"], r"critic_type=deep_set_q: choose one of deep_set_value"),
    ("mf_ppo", ["identity=name"], r"identity=name: .*one of none, one_hot, number, own_network"),
    ("mf_ppo_ind", ["learn_agents=5"], r"learn_agents=5: .*set learn_agents=0"),
    ("mf_ppo_ind", ["embedding_dim=4"], r"embedding_dim=4: .*set embedding_dim=0"),
]


@pytest.mark.parametrize(("alg", "words", "message"), REFUSED)
def test_settings_that_cannot_be_served_are_refused(small, alg, words, message):
    with pytest.raises(UserError, match=message) as caught:
        small(alg, *words)
    assert "\n" not in str(caught.value)


def test_another_controller_is_refused(small):
    with pytest.raises(UserError, match=r"mac=mean_field_mac: .*set mac=observation_mac"):
        small("mf_ppo", "mac=mean_field_mac", "agent=mean_field_network")


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_rewards_that_are_not_finite_stop_training(small, alg, poison):
    pieces = small(alg, "learn_agents=0")
    batch = pieces.runner.run(test_mode=False)
    batch["reward"][3, 2, 5] = poison
    with pytest.raises(DivergenceError, match=r"training diverged; lower lr="):
        pieces.learner.train(batch, t_env=EPOCH, episode_num=10)
    assert pieces.learner.epoch == 0
