"""mf_pmd on observations: who is learnt from, the two fits, and one step on a game that is solved by hand."""

import pytest
import torch

from mf_pmd.errors import DivergenceError, UserError
from mf_pmd.functional.distributions import kl_divergence
from mf_pmd.functional.trajectory_targets import trajectory_targets
from mf_pmd.learners.mf_pmd import MFPMDLearner
from mf_pmd.learners.mf_pmd_observations import Goal, MFPMDObservationsLearner, weighted_mean

WORDS = ["agent=deep_set_network", "env_args.n_agents=20", "env_args.horizon=4", "hidden_dim=16"]
TINY = ["critic_steps=3", "policy_fit_steps=3"]
FEW = ["critic_steps=40", "policy_fit_steps=30"]


@pytest.fixture
def make(build):
    """A learner, and a first batch."""

    def build_it(*words, env="a_sis"):
        pieces = build("mf_pmd", env, *WORDS, *words)
        return pieces.learner, pieces.runner.run(test_mode=False)

    return build_it


def everywhere(learner, batch):
    """What all agents see at all steps, [B T, N, ...]."""
    steps = torch.cartesian_prod(torch.arange(10), torch.arange(4))
    return learner.mac.observed(batch, steps[:, 0], steps[:, 1])


def test_the_game_says_which_form_it_is(build):
    small = ["env_args.n_agents=4", "env_args.horizon=2", "hidden_dim=4"]
    assert type(build("mf_pmd", "a_sis", *small).learner) is MFPMDLearner
    forms = [("a_taxi", "auto"), ("a_sis", "deep_set_network")]
    for env, agent in forms:
        learner = build("mf_pmd", env, *small, f"agent={agent}").learner
        assert type(learner) is MFPMDObservationsLearner


@pytest.mark.parametrize("words", [[], ["td_target=sarsa"], ["learn_agents=7", "embedding_dim=0"]])
def test_targets_are_those_of_the_trajectories(make, shake, words):
    learner, batch = make("trace_lambda=0.6", "tau=0.1", *words)
    shake(learner.critic, 1)
    shake(learner.mac.agent, 2)
    torch.manual_seed(0)
    visits, td_error = learner.evaluate(batch)
    agents = visits.agents
    assert len(set(agents.tolist())) == len(agents) == (7 if "learn_agents=7" in words else 20)
    with torch.no_grad():
        observed = everywhere(learner, batch)
        log_policy = learner.mac.log_policy(observed)[:, agents]
        q_values = learner.critic(observed.features, observed.present)[:, agents]
    actions = batch["actions"][:, :4, agents, 0].long().flatten(0, 1)
    taken = q_values.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    values = taken if "td_target=sarsa" in words else (log_policy.exp() * q_values).sum(-1)
    entropies = -(log_policy.exp() * log_policy).sum(-1)
    expected = trajectory_targets(
        batch["reward"][:, :4, agents],
        *(x.unflatten(0, (10, 4)) for x in (entropies, taken, values)),
        played=torch.ones(10, 4).bool(),
        present=torch.ones(10, 4, len(agents)).bool(),
        tau=0.1,
        lam=0.6,
    ).flatten(0, 1)
    assert torch.equal(visits.episodes * 4 + visits.steps, torch.arange(40))
    assert torch.equal(visits.actions, actions)
    assert torch.allclose(visits.targets, expected, atol=1e-5)
    assert td_error == pytest.approx((expected - taken).abs().mean().item(), abs=1e-5)
    rare = log_policy.gather(-1, actions.unsqueeze(-1)).squeeze(-1).exp() ** -0.5
    assert torch.allclose(visits.weight, rare, rtol=1e-4)


def test_features_are_made_piece_by_piece(make, monkeypatch):
    learner, batch = make()
    whole, _ = learner.evaluate(batch)
    learner.scale = type(learner.scale)()  # as it was
    monkeypatch.setattr("mf_pmd.learners.mf_pmd_observations.MOST_FEATURES", 3 * 20 * learner.mac.n_features)
    seen = []
    observed = learner.mac.observed
    monkeypatch.setattr(
        learner.mac, "observed", lambda batch, b, t, *who: seen.append(len(b)) or observed(batch, b, t, *who)
    )
    pieces, _ = learner.evaluate(batch)
    assert seen == [3] * 13 + [1]
    assert torch.allclose(whole.targets, pieces.targets, atol=1e-6)


def test_whoever_was_absent_or_gone_is_not_learnt_from(make):
    learner, batch = make("embedding_dim=0")
    batch["terminated"][4, 1] = 1  # this episode ends after two steps
    learner.mac.masks_absent = True
    learner.mac.make_features = None
    learner.mac.n_features = 1  # what is observed is the state's number: absent where it is 0
    there = batch["obs"][:, :4, :, 0] > 0
    learner.args.count_exponent = 1.0
    learner.judged = lambda observed, agents, actions: [torch.zeros_like(actions).float()] * 4
    visits, _ = learner.evaluate(batch)
    assert len(visits.episodes) == 40 - 2
    assert not ((visits.episodes == 4) & (visits.steps > 1)).any()
    assert torch.equal(visits.weight, there[visits.episodes, visits.steps].float())
    last = (visits.episodes == 4) & (visits.steps == 1)
    assert torch.equal(visits.targets[last][0], batch["reward"][4, 1])


def test_an_episode_cut_short_is_learnt_from_until_its_last_paid_step(make):
    learner, batch = make("trace_lambda=1.0", "tau=0.0")
    # as EPyMARL's runners leave one that was truncated after two steps among others of four: the observation
    # it was cut at is filled, with an action drawn there that nobody paid for, and nothing has terminated it
    batch["filled"][4, 3:] = 0
    batch["terminated"][4] = 0
    batch["reward"][4, 2:] = 0
    batch["reward"][5] = batch["reward"][4]
    for key in ("obs", "actions", "state"):
        batch[key][5] = batch[key][4]
    batch["filled"][5, 3:], batch["terminated"][5] = 0, 0
    batch["terminated"][5, 1] = 1  # the same, terminated: learnt from alike, for nothing follows either
    visits, _ = learner.evaluate(batch)
    cut, ended = (visits.rows((visits.episodes == episode).nonzero().squeeze(-1)) for episode in (4, 5))
    assert cut.steps.tolist() == ended.steps.tolist() == [0, 1]
    assert torch.equal(cut.targets, ended.targets)
    assert torch.equal(cut.targets[1], batch["reward"][4, 1])
    assert torch.allclose(cut.targets[0], batch["reward"][4, :2].sum(0))


def test_agents_are_drawn_anew_each_epoch(make):
    learner, _ = make("learn_agents=5", *TINY)
    torch.manual_seed(0)
    draws = [learner.drawn_agents(torch.device("cpu")).tolist() for _ in range(200)]
    counts = torch.bincount(torch.tensor(draws).flatten(), minlength=20)
    assert all(len(set(draw)) == 5 for draw in draws)
    assert counts.min() > 20  # 50 on average, standard deviation 6
    for everyone in (0, 20, 21):
        learner.args.learn_agents = everyone
        assert learner.drawn_agents(torch.device("cpu")).tolist() == list(range(20))
    learner.args.td_agents = "one"
    assert learner.drawn_agents(torch.device("cpu")).tolist() == [0]


def test_regression_lowers_the_loss_of_the_critic(make):
    learner, batch = make("critic_steps=1", "minibatch_rows=40", "count_exponent=1.0")
    visits, _ = learner.evaluate(batch)
    first = learner.fit_critic(batch, visits)
    assert first == pytest.approx(1, rel=1e-4)  # Q is the targets' mean at first, its unit their deviation
    learner.args.critic_steps = 150
    last = learner.fit_critic(batch, visits)
    cells = (
        visits.steps.unsqueeze(1) * 2 + batch["obs"][:, :4, :, 0].flatten(0, 1).long()
    ) * 2 + visits.actions
    spread = sum(
        (chosen - chosen.mean()).square().sum()
        for cell in cells.unique()
        for chosen in [visits.targets[cells == cell]]
    )
    floor = (spread / (visits.targets - visits.targets.mean()).square().sum()).item()
    assert floor < 0.5
    assert 0.8 * floor < last < 1.1 * floor  # what is left is what no function of (h, s, a) explains


def test_every_row_is_learnt_from_in_turn(make):
    learner, batch = make("critic_steps=6", "minibatch_rows=16")
    visits, _ = learner.evaluate(batch)
    seen = []
    observed = learner.mac.observed
    learner.mac.observed = lambda batch, b, t, *who: seen.append(b * 4 + t) or observed(batch, b, t, *who)
    learner.fit_critic(batch, visits)
    assert [len(rows) for rows in seen] == [16, 16, 8] * 2
    for k in (0, 3):
        assert torch.cat(seen[k : k + 3]).sort().values.tolist() == list(range(40))


def test_the_rate_falls_within_every_fit(make):
    learner, batch = make("lr=0.02", "critic_steps=4", "policy_fit_steps=2")
    rates = {"critic": [], "agent": []}
    for name, optimiser in (("critic", learner.critic_optimiser), ("agent", learner.agent_optimiser)):
        step = optimiser.step
        optimiser.step = lambda name=name, optimiser=optimiser, step=step: (
            rates[name].append(optimiser.param_groups[0]["lr"]) or step()
        )
    for _ in range(2):
        learner.learn(batch)
    assert rates["critic"] == pytest.approx([0.02, 0.015, 0.01, 0.005] * 2)
    assert rates["agent"] == pytest.approx([0.02, 0.01] * 2)


def test_the_policy_is_fitted_to_its_goal(make):
    learner, batch = make("policy_fit_steps=1", "minibatch_rows=40")
    visits, _ = learner.evaluate(batch)
    old = learner.mac.log_policy(everywhere(learner, batch)).detach()
    new = torch.tensor([1.5, -0.5]).log_softmax(-1).expand_as(old)
    goals = [Goal(visits, old, new)]

    def distance():
        return kl_divergence(learner.mac.log_policy(everywhere(learner, batch)).detach(), new).mean().item()

    before = distance()
    assert learner.fit_policy(batch, goals) == pytest.approx(
        before, abs=1e-6
    )  # the loss before the only step
    learner.args.policy_fit_steps = 100
    learner.fit_policy(batch, goals)
    assert distance() < before / 100
    changes = learner.changes(batch, goals)
    rows = torch.tensor([1.5, -0.5]).softmax(-1)
    entropy = -(rows * rows.log()).sum().item()
    assert changes["policy_entropy"] == pytest.approx(entropy, abs=0.03)
    assert changes["mirror_descent_kl"] == pytest.approx(0.6931472 - entropy, abs=0.03)


def test_an_epoch_is_the_mirror_descent_step(make):
    # one step: rewards do not depend on the others, so that Q is known, and so is the target of the fit
    words = ["env_args.horizon=1", "c_xi=2.0", "tau=0.1", "c_mix=0.0", "env_args.eps_beta=0.0"]
    learner, batch = make(*words, "critic_steps=150", "policy_fit_steps=100", "env_args.n_agents=60")
    metrics = learner.learn(batch)
    with torch.no_grad():
        rows = learner.mac.log_policy(learner.mac.observed(batch, torch.arange(10), torch.zeros(10).long()))
    # out pays 1 (or 1/3 when infected), distancing 1/3 less: odds e^(2 / 3)
    expected = torch.tensor([2 / 3, 0.0]).softmax(-1)
    assert (rows.exp() - expected).abs().max() < 0.03
    entropy = -(expected * expected.log()).sum().item()
    assert metrics["policy_entropy"] == pytest.approx(entropy, abs=0.02)
    assert metrics["mirror_descent_kl"] == pytest.approx(0.6931472 - entropy, abs=0.02)
    assert metrics["step_size"] == 2.0


def test_unavailable_actions_are_never_learnt(make):
    learner, batch = make("critic_steps=30", "policy_fit_steps=30", "c_mix=0.5", env="a_rps")
    available = torch.ones(10, 5, 20, 3, dtype=torch.int)
    available[:, :, ::2, 1] = 0
    batch.update({"avail_actions": available}, mark_filled=False)
    batch["actions"][:, :, ::2][batch["actions"][:, :, ::2] == 1] = 0
    for _ in range(2):
        metrics = learner.learn(batch)
        assert all(torch.isfinite(torch.tensor(value)) for value in metrics.values())
    with torch.no_grad():
        rows = learner.mac.log_policy(everywhere(learner, batch)).exp()
    assert (rows[:, ::2, 1] == 0).all()
    assert (rows[:, 1::2] > 0).all()
    assert metrics["policy_entropy"] < 1.0986


def test_the_order_of_agents_changes_nothing(make):
    rows = []
    for order in (torch.arange(20), torch.randperm(20, generator=torch.Generator().manual_seed(0))):
        learner, batch = make("critic_steps=20", "policy_fit_steps=20", "c_mix=0.0")
        for key in ("obs", "actions", "reward"):
            batch[key].copy_(batch[key][:, :, order])
        torch.manual_seed(0)
        learner.learn(batch)
        policy = learner.mac.log_policy(everywhere(learner, batch)).exp().detach()
        rows.append(policy[:, order.argsort()])
    assert torch.allclose(*rows, atol=1e-4)
    assert (rows[0] - 0.5).abs().max() > 0.01


def test_a_weighted_mean_of_nothing_is_nothing():
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert weighted_mean(values, torch.zeros(2, 2)).item() == 0
    assert weighted_mean(values, torch.tensor([[1.0, 0.0], [0.0, 3.0]])).item() == pytest.approx(13 / 4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["learn_agents=-1"], r"learn_agents=-1: must not be negative; 0 is all agents"),
        (["trace_lambda=1.5"], r"trace_lambda=1.5: must lie between 0 and 1"),
        (["minibatch_rows=0"], r"minibatch_rows=0: must be at least 1"),
        (["critic_type=mean_field_critic"], r"critic_type=mean_field_critic: on observations choose auto"),
        (["tau=0.1", "c_xi=10.0"], r"tau=0.1, c_xi=10.0: .*below 1"),
        (["common_reward=True"], r"common_reward=True: .*set common_reward=False"),
        (["buffer_size=20"], r"buffer_size=20: .*set all three"),
    ],
)
def test_settings_that_cannot_be_served_are_refused(build, words, message):
    with pytest.raises(UserError, match=message) as caught:
        build("mf_pmd", "a_sis", *WORDS, *words)
    assert "\n" not in str(caught.value)


def test_rewards_that_are_not_finite_stop_training(make):
    learner, batch = make(*TINY)
    batch["reward"][3, 2, 5] = torch.nan
    with pytest.raises(DivergenceError, match=r"training diverged; lower c_xi=7\.0 or lr="):
        learner.train(batch, t_env=40, episode_num=10)
    assert learner.epoch == 0


@pytest.mark.parametrize("words", [[], ["population_dependent=True", "learn_agents=3"]])
def test_it_learns_other_environments_under_another_runner(build, lamps, words):
    env = lamps(horizon=4, uneven=True)
    pieces = build("mf_pmd", env, "mask_absent=True", "hidden_dim=16", *FEW, *words)
    for _ in range(6):
        batch = pieces.runner.run(test_mode=False)
        pieces.learner.train(batch, t_env=pieces.runner.t_env, episode_num=0)
    observed = pieces.learner.mac.observed(batch, torch.arange(10), torch.zeros(10).long())
    with torch.no_grad():
        policy = pieces.learner.mac.log_policy(observed).exp()
    right = policy.gather(-1, observed.features.argmax(-1, keepdim=True) + 1).squeeze(-1)
    assert right[observed.present].min() > 0.8
    assert (policy[observed.present][:, 0] == 0).all()
    assert (policy[~observed.present][:, 0] == 1).all()
