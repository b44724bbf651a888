"""The tabular learner by hand: every switch of its TD learning, and a whole epoch.

The batch: three episodes of two steps, two agents (first agent / second agent), written s a r -> s'.

    episode 1   0 0 1.0 -> 1 0 0.8    /   0 0 0.0 -> 0 1 0.25
    episode 2   0 0 0.5 -> 0 1 0.75   /   1 1 0.2 -> 0 0 1.0
    episode 3   0 0 0.2 -> 1 0 0.4    /   1 1 0.6 -> 1 1 0.3

The policy: pi_0 uniform; pi_1(. | 0) = (1/4, 3/4), pi_1(. | 1) = (1/2, 1/2).
"""

import math
from types import SimpleNamespace

import pytest
import torch

from mf_pmd.errors import UserError
from mf_pmd.learners.mf_pmd_tabular import MFPMDTabularLearner

STATES = [[[0, 0], [1, 0], [0, 0]], [[0, 1], [0, 0], [1, 1]], [[0, 1], [1, 1], [0, 0]]]
ACTIONS = [[[0, 0], [0, 1], [0, 0]], [[0, 1], [1, 0], [0, 0]], [[0, 1], [0, 1], [0, 0]]]
REWARDS = [[[1.0, 0.0], [0.8, 0.25]], [[0.5, 0.2], [0.75, 1.0]], [[0.2, 0.6], [0.4, 0.3]]]
POLICY = torch.tensor([[[0.5, 0.5], [0.5, 0.5]], [[0.25, 0.75], [0.5, 0.5]]])


def make_batch(states, actions, rewards):
    rewards = torch.tensor(rewards)
    padded = torch.cat([rewards, torch.full_like(rewards[:, :1], 99.0)], 1)  # the last step has no reward
    return {
        "obs": torch.tensor(states).unsqueeze(-1).float(),
        "actions": torch.tensor(actions).unsqueeze(-1),
        "reward": padded,
    }


@pytest.fixture
def make_learner(recording_logger):
    """A tabular learner of a game of S states and H steps, with plain settings and some changed."""

    def make(n_states=2, horizon=2, **changes):
        settings = {
            "name": "mf_pmd_tabular",
            "agent": "mean_field_table",
            "state_shape": n_states,
            "n_actions": 2,
            "tau": 0.0,
            "c_xi": 1.0,
            "c_mix": 0.0,
            "mix_offset": 1.0,
            "td_agents": "all",
            "td_target": "expected_sarsa",
            "td_order": "backward",
            "td_learning_rate": "visits",
            "td_delta": 0.5,
            "step_rule": "sqrt",
            "c_scale_free": 1.0,
            "optimism": 0.0,
            "common_reward": False,
            "gamma": 1.0,
            "add_value_last_step": False,
            "obs_agent_id": False,
            "obs_last_action": False,
            "batch_size_run": 3,
            "batch_size": 3,
            "buffer_size": 3,
            "learner_log_interval": 1,
            "population_info": {"game": "by hand", "n_states": n_states, "horizon": horizon},
            **changes,
        }
        agent = SimpleNamespace(tabular=True, log_table=torch.full((horizon, n_states, 2), 0.5).log())
        recorded = []
        mac = SimpleNamespace(
            agent=agent,
            population_dependent=False,
            recorded=recorded,
            record_iterate=lambda: recorded.append(1),
        )
        return MFPMDTabularLearner(mac, {}, recording_logger, SimpleNamespace(**settings))

    return make


# Q_0 then Q_1, each [[Q(0, 0), Q(0, 1)], [Q(1, 0), Q(1, 1)]]
BY_HAND = {
    # Q_1 = means: (0,0) 1; (0,1) (.25 + .75) / 2; (1,0) (.8 + .4) / 2; (1,1) .3, so V(0) = .25 + .375 = .625
    # and V(1) = .3 + .15 = .45. Q_0(0,0): rewards 1.7 / 4, values (.45 + .625 + .625 + .45) / 4 = .5375;
    # Q_0(1,1): rewards .8 / 2, values (.625 + .45) / 2
    ("all", "expected_sarsa", "backward", "visits"): [[0.9625, 0], [0, 0.9375], [1.0, 0.5], [0.6, 0.3]],
    # the cells met instead: (.6 + .5 + .5 + .6) / 4 = .55 and (1 + .3) / 2 = .65
    ("all", "sarsa", "backward", "visits"): [[0.975, 0], [0, 1.05], [1.0, 0.5], [0.6, 0.3]],
    # agent 1: V(0) = .75 * .75 = .5625, V(1) = .3; rewards 1.7 / 3, values (.3 + .5625 + .3) / 3
    ("one", "expected_sarsa", "backward", "visits"): [[2.8625 / 3, 0], [0, 0], [0, 0.75], [0.6, 0]],
    # agent 1: cells met (.6 + .75 + .6) / 3
    ("one", "sarsa", "backward", "visits"): [[3.65 / 3, 0], [0, 0], [0, 0.75], [0.6, 0]],
    # eta 1, 2/3, 1/2: Q_0(0,0) = 1; 1 + 2/3 (.5 + 0 - 1) = 2/3; 2/3 + 1/2 (.2 + .8 - 2/3) = 5/6
    # Q_1(1,0) = .8, then .8 + 2/3 (.4 - .8)
    ("one", "sarsa", "simultaneous", "visits"): [[5 / 6, 0], [0, 0], [0, 0.75], [0.8 - 0.8 / 3, 0]],
    # eta_m = 4 / (m + 4): 1, .8, 2/3: 1; 1 + .8 (.5 - 1) = .6; .6 + 2/3 (.2 + .8 - .6) = .6 + .8 / 3
    # Q_1(0,1) = .8 * .75; Q_1(1,0) = .8 + 2/3 (.4 - .8)
    ("one", "sarsa", "simultaneous", "paper"): [[0.6 + 0.8 / 3, 0], [0, 0], [0, 0.6], [0.8 - 0.8 / 3, 0]],
    # V_1(1) before episode 3 is .5 * .8: 2/3 + 1/2 (.2 + .4 - 2/3)
    ("one", "expected_sarsa", "simultaneous", "visits"): [
        [2 / 3 - 1 / 30, 0],
        [0, 0],
        [0, 0.75],
        [0.8 - 0.8 / 3, 0],
    ],
    # Q_0(0,0): .5 (mean of two agents); .5 + 2/3 (.5 + .25 - .5) = 2/3; 2/3 + 1/2 (.2 + .8 - 2/3) = 5/6
    # Q_0(1,1): .2, then .2 + 2/3 (.6 + 0 - .2); Q_1(0,1): .25 + 2/3 (.75 - .25)
    ("all", "sarsa", "simultaneous", "visits"): [
        [5 / 6, 0],
        [0, 0.2 + 0.8 / 3],
        [1.0, 0.25 + 1 / 3],
        [0.8 - 0.8 / 3, 0.3],
    ],
    # Q_0(0,0): .5; V_1(0) = .75 * .25 = .1875: .5 + .8 (.6875 - .5) = .65; V_1(1) = .5 * .8 = .4:
    # .65 + 2/3 (.6 - .65). Q_0(1,1): .8 * (.2 + .1875) = .31, then .31 + 2/3 (.6 + .4 - .31)
    # Q_1: (0,0) .8 * 1; (0,1) .25 + .8 * .5; (1,0) .8 + 2/3 (-.4); (1,1) 2/3 * .3
    ("all", "expected_sarsa", "simultaneous", "paper"): [
        [0.65 - 0.1 / 3, 0],
        [0, 0.31 + 1.38 / 3],
        [0.8, 0.65],
        [0.8 - 0.8 / 3, 0.2],
    ],
}


@pytest.mark.parametrize("switches", BY_HAND, ids="-".join)
def test_three_updates_by_hand(make_learner, switches):
    names = ("td_agents", "td_target", "td_order", "td_learning_rate")
    learner = make_learner(**dict(zip(names, switches, strict=True)))
    q_values = learner.evaluate(
        learner.count(make_batch(STATES, ACTIONS, REWARDS)), POLICY.log(), tau=learner.tau
    )
    expected = torch.tensor(BY_HAND[switches]).reshape(2, 2, 2)
    assert q_values.flatten().tolist() == pytest.approx(expected.flatten().tolist(), abs=1e-6)


def test_the_entropy_of_a_step_is_included(make_learner):
    # tau = .5: Q_1(0, .) gains .5 * .5623351, Q_1(1, .) and Q_0 gain .5 ln 2; unvisited cells stay 0
    learner = make_learner(tau=0.5)
    q_values = learner.evaluate(
        learner.count(make_batch(STATES, ACTIONS, REWARDS)), POLICY.log(), tau=learner.tau
    )
    biased, even = 0.5 * 0.5623351, 0.5 * math.log(2)
    assert q_values[1].flatten().tolist() == pytest.approx([1 + biased, 0.5 + biased, 0.6 + even, 0.3 + even])
    assert q_values[0, 0, 0].item() == pytest.approx(0.9625 + even + (biased + even) / 2)
    assert q_values[0, 1, 1].item() == pytest.approx(0.9375 + even + (biased + even) / 2)
    assert q_values[0, 0, 1] == q_values[0, 1, 0] == 0


def test_the_td_error_reported(make_learner):
    # one step, one state: Q = mean 0.5 of rewards 1 and 0 for action 0; errors .5 an episode on average
    learner = make_learner(n_states=1, horizon=1, batch_size_run=2, batch_size=2, buffer_size=2)
    batch = make_batch([[[0], [0]]] * 2, [[[0], [0]]] * 2, [[[1.0]], [[0.0]]])
    log_policy = torch.full((1, 1, 2), 0.5).log()
    statistics = learner.count(batch)
    q_values = learner.evaluate(statistics, log_policy, tau=0.0)
    assert learner.mean_error(statistics, log_policy, q_values, tau=0.0) == pytest.approx(0.5)


def test_an_epoch_by_hand(make_learner, recording_logger):
    # action 0 pays 1, action 1 pays 0: pi^ = (e, 1) / (e + 1) = (.7310586, .2689414); w_0 = .5 / 1 mixes it
    # to (.6155293, .3844707). Second epoch: xi = 1 / sqrt 2, w_1 = .25
    learner = make_learner(n_states=1, horizon=1, c_mix=0.5)
    batch = make_batch([[[0, 0], [0, 0]]], [[[0, 1], [0, 0]]], [[[1.0, 0.0]]])
    learner.train(batch, t_env=1, episode_num=1)
    assert learner.mac.agent.log_table.exp().flatten().tolist() == pytest.approx([0.6155293, 0.3844707])
    p, q = 0.6155293, 0.3844707
    logged = {key: series[-1] for key, series in recording_logger.series.items()}
    assert logged["step_size"] == (1, 1.0)
    assert logged["policy_entropy"][1] == pytest.approx(-p * math.log(p) - q * math.log(q), abs=1e-6)
    assert logged["mirror_descent_kl"][1] == pytest.approx(
        p * math.log(2 * p) + q * math.log(2 * q), abs=1e-6
    )
    assert logged["td_error_abs"][1] == pytest.approx(0.0, abs=1e-7)
    assert logged["unvisited_cells"][1] == 0.0
    learner.train(batch, t_env=2, episode_num=2)
    odds = p / q * math.exp(1 / math.sqrt(2))
    assert learner.mac.agent.log_table.exp()[0, 0, 0].item() == pytest.approx(
        0.75 * odds / (1 + odds) + 0.125, abs=1e-6
    )
    assert learner.epoch == 2
    assert len(learner.mac.recorded) == 2


def test_an_epoch_by_hand_with_tau(make_learner):
    # pi^(1 - tau xi) exp(xi Q), tau xi = .4 * 2: odds 3^.2 e^(2 * .5); the entropy shifts Q by a constant
    learner = make_learner(n_states=1, horizon=1, tau=0.4, c_xi=2.0)
    learner.mac.agent.log_table.copy_(torch.tensor([[[0.75, 0.25]]]).log())
    learner.train(make_batch([[[0, 0], [0, 0]]], [[[0, 1], [0, 0]]], [[[0.5, 0.0]]]), t_env=1, episode_num=1)
    odds = 3**0.2 * math.e
    assert learner.mac.agent.log_table.exp()[0, 0, 0].item() == pytest.approx(odds / (1 + odds), abs=1e-6)


def test_unvisited_cells_are_told(make_learner, recording_logger):
    learner = make_learner()
    learner.train(make_batch(STATES, ACTIONS, REWARDS), t_env=1, episode_num=1)
    assert recording_logger.last("unvisited_cells") == pytest.approx(2 / 8)


def test_metrics_are_logged_at_their_interval(make_learner, recording_logger):
    learner = make_learner(learner_log_interval=10)
    for t_env in (4, 8, 12, 16, 20):
        learner.train(make_batch(STATES, ACTIONS, REWARDS), t_env=t_env, episode_num=1)
    assert [t for t, _ in recording_logger.series["step_size"]] == [4, 16]


SCALE_FREE = {"step_rule": "scale_free", "c_scale_free": 0.5, "tau": 0.1}


def epochs(learner, rewards, n=3):
    for t_env in range(1, n + 1):
        learner.train(make_batch(STATES, ACTIONS, rewards), t_env=t_env, episode_num=1)
    return learner.mac.agent.log_table


@pytest.mark.parametrize(("factor", "offset"), [(50.0, 0.0), (0.02, 0.9), (1.0, -7.0), (3.0, 40.0)])
def test_scale_free_learning_does_not_know_the_units_of_rewards(make_learner, factor, offset):
    other = [[[factor * r + offset for r in step] for step in episode] for episode in REWARDS]
    one, two = make_learner(**SCALE_FREE), make_learner(**SCALE_FREE)
    assert torch.allclose(epochs(one, REWARDS), epochs(two, other), atol=1e-4)
    assert two.xi == pytest.approx(one.xi / factor, rel=1e-4)
    plain = make_learner(c_xi=0.5), make_learner(c_xi=0.5)
    assert not torch.allclose(epochs(plain[0], REWARDS), epochs(plain[1], other), atol=1e-2)


def test_a_scale_free_epoch_by_hand(make_learner, recording_logger):
    # one state: spread 3, so xi_0 = 2 / 3, tau 3 / 8, tau xi = 1 / 4: from even odds, 1^(3/4) e^2
    learner = make_learner(n_states=1, horizon=1, step_rule="scale_free", c_scale_free=2.0, tau=0.125)
    batch = make_batch([[[0, 0], [0, 0]]], [[[0, 1], [0, 0]]], [[[1.0, -2.0]]])
    learner.train(batch, t_env=1, episode_num=1)
    assert recording_logger.last("step_size") == pytest.approx(2 / 3)
    odds = math.exp(2)
    table = learner.mac.agent.log_table.exp()[0, 0]
    assert (table[0] / table[1]).item() == pytest.approx(odds, rel=1e-5)
    # again: G_1 = 3, xi_1 = 2 / sqrt(18), tau still 3 / 8
    learner.train(batch, t_env=2, episode_num=1)
    xi = 2 / math.sqrt(18)
    table = learner.mac.agent.log_table.exp()[0, 0]
    assert (table[0] / table[1]).item() == pytest.approx(
        odds ** (1 - 0.375 * xi) * math.exp(3 * xi), rel=1e-5
    )


def test_optimistic_epochs_by_hand(make_learner):
    # one state, xi_t = 1 / sqrt(t + 1), action 1 pays 0: steps along Q_0 = 1, then Q_1 + .5 (Q_1 - Q_0) = 2.5
    learner = make_learner(n_states=1, horizon=1, optimism=0.5)
    for t_env, reward in ((1, 1.0), (2, 2.0)):
        batch = make_batch([[[0, 0], [0, 0]]], [[[0, 1], [0, 0]]], [[[reward, 0.0]]])
        learner.train(batch, t_env=t_env, episode_num=1)
    table = learner.mac.agent.log_table[0, 0]
    assert (table[0] - table[1]).item() == pytest.approx(1 + 2.5 / math.sqrt(2), rel=1e-5)


@pytest.mark.parametrize("step", [{}, SCALE_FREE])
def test_a_resumed_optimistic_run_goes_on_where_it_was(make_learner, step):
    whole, first, second = (make_learner(optimism=0.7, **step) for _ in range(3))
    epochs(whole, REWARDS, 4)
    epochs(first, REWARDS, 2)
    for name, module in second.modules().items():
        module.load_state_dict(first.modules()[name].state_dict())
    second.mac.agent.log_table.copy_(first.mac.agent.log_table)
    second.epoch = first.epoch
    epochs(second, REWARDS, 2)
    assert torch.equal(second.mac.agent.log_table, whole.mac.agent.log_table)
    second.modules()["optimism"].before.zero_()
    assert not torch.equal(epochs(second, REWARDS, 1), epochs(whole, REWARDS, 1))  # it does matter


@pytest.mark.parametrize("optimism", [-0.1, math.nan, math.inf])
def test_optimism_that_is_refused(make_learner, optimism):
    with pytest.raises(UserError, match=f"optimism={optimism}: must be 0 or more, and finite"):
        make_learner(optimism=optimism)


def test_where_actions_never_differ_nothing_is_learnt(make_learner):
    learner = make_learner(n_states=1, horizon=1, **SCALE_FREE)
    batch = make_batch([[[0, 0], [0, 0]]], [[[0, 1], [0, 0]]], [[[0.5, 0.5]]])
    learner.train(batch, t_env=1, episode_num=1)
    assert learner.xi == 0.0
    assert torch.allclose(learner.mac.agent.log_table.exp(), torch.tensor(0.5))


def test_an_unvisited_cell_takes_the_mean_of_its_row(make_learner):
    learner = make_learner(**SCALE_FREE | {"tau": 0.0})
    q_values = learner.evaluate(
        learner.count(make_batch(STATES, ACTIONS, REWARDS)), POLICY.log(), tau=learner.tau
    )
    assert q_values[0, 0, 1] == q_values[0, 0, 0]
    assert q_values[0, 1, 0] == q_values[0, 1, 1]
    assert q_values.flatten()[[0, 3]].tolist() == pytest.approx([0.9625, 0.9375])  # as by hand above


def test_auto_is_scale_free_where_rewards_were_scaled(make_learner):
    info = {"game": "by hand", "n_states": 2, "horizon": 2}
    for factor, order, expected in (
        (0.02, "backward", True),
        (1.0, "backward", False),
        (0.02, "simultaneous", False),
    ):
        learner = make_learner(
            step_rule="auto", td_order=order, population_info={**info, "reward_factor": factor}
        )
        assert (learner.spreads is not None) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"c_scale_free": 0.0}, "c_scale_free=0.0: must be positive"),
        ({"c_scale_free": 20.0}, "its product with tau=0.1 below 1"),
        ({"td_order": "simultaneous"}, "step_rule=scale_free: needs td_order=backward"),
        ({"step_rule": "adaptive"}, "step_rule=adaptive: choose one of auto, sqrt, scale_free"),
    ],
)
def test_scale_free_settings_that_are_refused(make_learner, changes, message):
    with pytest.raises(UserError, match=message):
        make_learner(**SCALE_FREE | changes)


def test_a_resumed_scale_free_run_goes_on_where_it_was(make_learner):
    whole, first, second = (make_learner(**SCALE_FREE) for _ in range(3))
    epochs(whole, REWARDS, 4)
    epochs(first, REWARDS, 2)
    second.modules()["spreads"].load_state_dict(first.modules()["spreads"].state_dict())
    second.mac.agent.log_table.copy_(first.mac.agent.log_table)
    second.epoch = first.epoch
    epochs(second, REWARDS, 2)
    assert torch.equal(second.mac.agent.log_table, whole.mac.agent.log_table)
    assert second.xi == whole.xi
