"""Networks under the scale-free step: blind to units, as they were where it does not hold, and learning.

By hand: G^2 = sum_h sum_s nu_h(s) (max_a Q - min_a Q)^2, xi_t = c / sqrt(G_0^2 + ... + G_t^2).
"""

import math
import statistics as stats

import pytest
import torch

from mf_pmd.errors import UserError
from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import tabular_policy
from mf_pmd.modules.critics.mean_field_critic import MeanFieldCritic

WORDS = ["env_args.horizon=4", "hidden_dim=16", "critic_steps=40", "policy_steps=20"]
SCALE_FREE = ["step_rule=scale_free", "c_scale_free=1.5"]


@pytest.fixture
def start(build):
    """A learner, and three batches of a game that nobody learns from, counted."""

    def make(*words, n_agents=300, env="a_sis"):
        pieces = build("mf_pmd", env, f"env_args.n_agents={n_agents}", *WORDS, *words)
        batches = [pieces.learner.count(pieces.runner.run(test_mode=False)) for _ in range(3)]
        return pieces.learner, batches

    return make


def epochs(learner, batches):
    """Learn from the batches, one an epoch; returns the policy at the first of them."""
    for batch in batches:
        learner.update(batch)
        learner.epoch += 1
    return learner.mac.log_policy(batches[0].population).exp().detach()


def paid(batches, factor, offset):
    """The same batches of a game that pays factor r + offset."""
    return [b._replace(reward_sum=factor * b.reward_sum + offset * b.visits) for b in batches]


FORMS = {  # agents, of which three leave most cells unvisited, and words
    "many agents": (300, []),
    "few agents": (3, []),
    "one step's bootstrap": (3, ["td_lambda=0.0", "td_target=sarsa"]),
    "a mixed one": (3, ["td_lambda=0.6", "batch_size_run=3", "batch_size=3", "buffer_size=3"]),
    "reading the population": (3, ["population_dependent=True"]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("factor", "offset"), [(0.02, 0.9), (50.0, -7.0)])
def test_learning_does_not_know_the_units_of_rewards(start, form, factor, offset):
    n_agents, words = FORMS[form]
    found = []
    for a, b in ((1.0, 0.0), (factor, offset)):
        learner, batches = start(*SCALE_FREE, *words, n_agents=n_agents)
        found.append((epochs(learner, paid(batches, a, b)), learner.xi))
    (one, xi), (other, other_xi) = found
    assert (one - 0.5).abs().max() > 0.1  # something was learnt
    assert (one - other).abs().max() < 2e-3
    assert other_xi == pytest.approx(xi / factor, rel=1e-3)


def test_a_power_of_two_changes_no_bit(start):
    learner, batches = start(*SCALE_FREE)
    other, same = start(*SCALE_FREE)
    assert torch.equal(epochs(learner, batches), epochs(other, paid(same, 2.0**-9, 0.0)))
    plain = [start("step_rule=sqrt")[0] for _ in range(2)]
    policies = [epochs(p, paid(batches, a, 0.0)) for p, a in zip(plain, (1.0, 2.0**-9), strict=True)]
    assert (policies[0] - policies[1]).abs().max() > 0.1


def test_where_rewards_were_not_scaled_auto_is_the_schedule_bit_for_bit(start):
    learners = [start(word) for word in ("step_rule=auto", "step_rule=sqrt")]
    policies = [epochs(*pair) for pair in learners]
    assert torch.equal(*policies)
    (one, batches), (other, _) = learners
    for learner in (one, other):
        assert learner.spreads is None
        assert set(learner.modules()) == {"critic", "critic_optimiser", "agent_optimiser"}
        assert not any("unit" in name for name in learner.critic.state_dict())
    for name, value in one.critic.state_dict().items():
        assert torch.equal(value, other.critic.state_dict()[name])
    features = one.critic.features(batches[0].population)
    assert torch.equal(one.critic(features), 4 * one.critic.layers(features))
    q = torch.randn(10, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(one.critic.outputs(q), q / 4)
    assert one.xi == 7 / 2
    assert one.tau == 0.015


def test_auto_is_scale_free_where_rewards_were_scaled(build):
    learner = build("mf_pmd", "mfglib", "env_args.key=left_right", "env_args.n_agents=10").learner
    assert learner.spreads is not None
    assert learner.critic.unit is not None
    assert "spreads" in learner.modules()


def test_an_epoch_by_hand(start):
    # one step: out pays a third more than distancing, infected or not, so G_0 = 1/3 and xi_0 = 1.5 / (1/3)
    words = ["env_args.horizon=1", "env_args.eps_beta=0.0", "c_mix=0.0", "tau=0.1"]
    learner, batches = start(*SCALE_FREE, *words, "critic_steps=600", "policy_steps=600")
    metrics = learner.update(batches[0])
    assert metrics["step_size"] == pytest.approx(4.5, rel=1e-5)
    assert learner.tau == pytest.approx(0.1 / 3, rel=1e-5)
    policy = learner.mac.log_policy(batches[0].population).exp().detach()
    expected = torch.tensor([1.5, 0.0]).softmax(-1)
    assert (policy - expected).abs().max() < 0.01
    assert metrics["critic_loss"] < 1e-3  # of targets whose spread is 1


def test_the_spreads_are_those_of_the_targets(start, monkeypatch):
    learner, batches = start(*SCALE_FREE)
    squares, units, sweep = [], [], type(learner).td_targets

    def spying(self, statistics, *others):
        targets = sweep(self, statistics, *others)
        visits, total = statistics.visits, 0.0
        for h in range(4):
            for s in range(2):
                n = visits[:, h, s].sum(0)  # [A]
                mean = (visits[:, h, s] * targets.q_values[:, h, s]).sum(0) / n
                total += (n.sum() / visits[:, h].sum() * (mean[0] - mean[1]) ** 2).item()
        squares.append(total)
        return targets

    monkeypatch.setattr(type(learner), "td_targets", spying)
    for n, batch in enumerate(batches, start=1):
        learner.update(batch)
        learner.epoch += 1
        assert learner.xi == pytest.approx(1.5 / math.sqrt(sum(squares)), rel=1e-4)
        units.append(learner.critic.unit.scale.item())
        assert units[-1] == pytest.approx(math.sqrt(sum(squares) / (4 * n)), rel=1e-4)
    assert len(set(units)) == 3
    assert learner.tau == pytest.approx(0.015 * math.sqrt(squares[0] / 4), rel=1e-4)


def test_before_it_has_learnt_anything_the_critic_tells_the_mean_of_a_row(start):
    learner, batches = start(*SCALE_FREE, "env_args.horizon=1", n_agents=3)
    (batch, *_), visits = batches, batches[0].visits.sum(0)[0]
    with torch.no_grad():
        learner.begin(batch, learner.mac.log_policy(batch.population))
        values = learner.critic(learner.critic.features(batch.population))
    for s in range(2):
        mean = batch.reward_sum[:, 0, s].sum() / visits[s].sum()
        assert values[:, 0, s].flatten().tolist() == pytest.approx([mean.item()] * 20)


def test_another_unit_changes_no_difference(start, shake):
    learner, batches = start(*SCALE_FREE)
    critic: MeanFieldCritic = learner.critic
    shake(critic.layers, 1)
    features, q = critic.features(batches[0].population), torch.randn(10, 4, 2, 2)
    before = critic(features).detach()
    offset = torch.tensor([[1.0, -2.0]] * 4)
    critic.measure_in(torch.tensor(0.03), offset)
    after = critic(features).detach()
    torch.testing.assert_close(after - offset.unsqueeze(-1), before, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(critic.unit.values(critic.outputs(q)), q)


def test_where_actions_never_differ_nothing_is_learnt(start):
    learner, batches = start(*SCALE_FREE)
    policy = epochs(learner, paid(batches, 0.0, 0.0))
    assert learner.xi == 0.0
    assert torch.equal(policy, torch.full_like(policy, 0.5))


def test_a_critic_that_sees_one_step_ahead_does_not_make_the_step_too_long(start):
    # nothing is paid in the end, so that the critic's own targets tell little apart at first
    words = ["td_lambda=0.0", "tau=0.9", "c_scale_free=1.1", "step_rule=scale_free", "c_xi=1.0"]
    learner, batches = start(*words)
    for batch in batches:
        batch.reward_sum[:, 1:] = 0
    assert epochs(learner, batches).isfinite().all()
    assert learner.tau * learner.xi < 1


def test_what_the_rule_holds_goes_to_the_gpu_with_the_critic(start, monkeypatch):
    learner, _ = start(*SCALE_FREE)
    moved = []
    monkeypatch.setattr(torch.nn.Module, "cuda", lambda self, *_: moved.append(self) or self)
    monkeypatch.setattr(learner.mac, "cuda", lambda: None)
    learner.cuda()
    reached = {id(held) for module in moved for held in (*module.parameters(), *module.buffers())}
    for module in (learner.spreads, learner.critic, learner.critic.unit):
        assert {id(held) for held in (*module.parameters(), *module.buffers())} <= reached


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["c_scale_free=0.0"], "c_scale_free=0.0: must be positive"),
        (["c_scale_free=70.0"], "its product with tau=0.015 below 1"),
        (["step_rule=adaptive"], "step_rule=adaptive: not one of auto, sqrt, scale_free"),
        (["agent=deep_set_network"], "step_rule=scale_free: needs agent=mean_field_network"),
    ],
)
def test_settings_that_are_refused(build, words, message):
    with pytest.raises(UserError, match=message):
        build("mf_pmd", "a_sis", *SCALE_FREE, *words)


@pytest.mark.slow
def test_networks_learn_a_game_whose_rewards_fill_little_of_their_bounds(build, capsys):
    # rewards of factor .02: at step_rule=sqrt the same 50 epochs end at .6 of the uniform policy's
    words = ["env_args.key=beach_bar", "env_args.n_agents=10000", "runner=counts", "population.played=never"]
    shares = []
    for seed in (1, 2, 3):
        pieces = build("mf_pmd", "mfglib", *words, f"seed={seed}")
        for _ in range(50):
            pieces.learner.train(pieces.runner.run(test_mode=False), pieces.runner.t_env, 0)
        model = pieces.runner.game.mean_field_model()
        tail = pieces.learner.mac.history.mean("tail").double()
        found = [
            mean_field_exploitability(model, tabular_policy(table)).item()
            for table in (tail, torch.full_like(tail, 1 / 3))
        ]
        shares.append(found[0] / found[1])
    with capsys.disabled():
        print(
            f"\nmf_pmd beach_bar: median {stats.median(shares):.4f}, worst {max(shares):.4f} of the uniform"
        )
    assert max(shares) < 0.04
