"""A policy scored without a host, against what is known exactly."""

import pytest
import torch

from mf_pmd.errors import UserError
from mf_pmd.evaluation.checkpoint import LearntPolicy
from mf_pmd.evaluation.judgement import judge
from mf_pmd.evaluation.playing import play, shared
from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import tabular_policy
from mf_pmd.games import TableGame


def learnt(table, private=None):
    horizon, n_states, n_actions = table.shape
    sizes = {"horizon": horizon, "n_states": n_states, "n_actions": n_actions}
    return LearntPolicy("last", table.float(), private_tables=private, **sizes)


@pytest.fixture
def joint_game(benchmark_module):
    return benchmark_module("enumeration.py").JointGame


@pytest.fixture
def small(make_game):
    return make_game("a_sis", n_agents=4, horizon=3, eps=0.2, eps_beta=0.6)


def test_a_judgement_covers_the_exact_exploitability(small, random_policy, joint_game):
    table = random_policy(3, 3, 2, 2)
    found = judge(small, learnt(table), n_episodes=2000, seed=1)
    exact = joint_game(small)
    profile = table.float().double().expand(4, -1, -1, -1)
    each = [exact.exploitability(profile, agent) for agent in range(4)]
    for name, truth in (("mean", sum(each) / 4), ("max", max(each))):
        key = f"exploitability_{name}"
        slack = 3 / (2 * 4)  # H / (2 N), what freezing the others' flows may be off
        assert found.n_player[f"{key}_lower"] - slack <= truth <= found.n_player[f"{key}_upper"] + slack
        assert found.n_player[f"{key}_played_lower"] <= truth
        assert found.n_player[f"{key}_played"] == pytest.approx(truth, abs=0.1)
    assert found.returns == pytest.approx(exact.returns(profile).mean().item(), abs=0.02)
    assert found.mean_field == pytest.approx(
        mean_field_exploitability(small.mean_field_model(), tabular_policy(table.float())).item()
    )


def test_private_tables_are_played_by_their_owners(small, random_policy, joint_game):
    tables = torch.stack([random_policy(seed, 3, 2, 2) for seed in range(4)]).float()
    found = judge(small, learnt(tables.mean(0), tables), n_episodes=2000, seed=1)
    truth = joint_game(small).returns(tables.double())
    assert found.returns == pytest.approx(truth.mean().item(), abs=0.02)
    each = [joint_game(small).exploitability(tables.double(), agent) for agent in range(4)]
    assert found.n_player["exploitability_mean_played"] == pytest.approx(sum(each) / 4, abs=0.1)


def test_same_seed_same_judgement_whatever_else_is_drawn(small, random_policy):
    policy = learnt(random_policy(1, 3, 2, 2))
    torch.manual_seed(1)
    first = judge(small, policy, n_episodes=20, seed=4)
    torch.manual_seed(2)
    small.reset(3)
    assert judge(small, policy, n_episodes=20, seed=4) == first
    assert judge(small, policy, n_episodes=20, seed=5) != first


def test_episodes_in_several_batches(small, random_policy, monkeypatch):
    monkeypatch.setattr("mf_pmd.evaluation.judgement.AGENT_STEPS_AT_ONCE", 4 * 300)
    policy = learnt(random_policy(3, 3, 2, 2))
    found = judge(small, policy, n_episodes=1000, seed=1)
    monkeypatch.undo()
    whole = judge(small, policy, n_episodes=1000, seed=1)
    for key in ("exploitability_mean", "exploitability_max"):
        assert found.n_player[key] == pytest.approx(whole.n_player[key], abs=0.1)


def test_a_policy_that_reads_the_population(small):
    def follows(h, nu):
        return torch.stack([nu.float(), 1 - nu.float()])  # in state 0, action a with chance nu(a)

    seen = list(play(small, shared(follows, small, reads_population=True), batch_size=4000))
    for step in seen:
        infected = step.states.double().mean(1, keepdim=True).expand(-1, 4)
        out = (step.actions == 0).double()
        chance = torch.where(step.states == 0, 1 - infected, infected)
        assert (out - chance).mean().abs() < 0.02
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [((2, 2, 2), "2 steps, this game has 3"), ((3, 3, 2), "3 local states"), ((3, 2, 4), "4 actions")],
)
def test_a_policy_of_another_game_is_refused(small, random_policy, shape, remedy):
    with pytest.raises(UserError, match=remedy):
        judge(small, learnt(random_policy(1, *shape)), n_episodes=20, seed=1)


def test_tables_of_another_number_of_agents_are_refused(small, random_policy):
    table = random_policy(1, 3, 2, 2)
    with pytest.raises(UserError, match="5 agents with tables of their own, this game has 4"):
        judge(small, learnt(table, table.expand(5, -1, -1, -1)), n_episodes=20, seed=1)


def test_too_few_episodes_are_refused(small, random_policy):
    with pytest.raises(UserError, match="--episodes=3"):
        judge(small, learnt(random_policy(1, 3, 2, 2)), n_episodes=3, seed=1)


def test_a_game_without_tables_is_refused(random_policy):
    class Blind(TableGame):
        def __init__(self):
            law = torch.tensor([0.5, 0.5])
            super().__init__(n_agents=4, n_states=2, n_actions=2, horizon=3, initial_law=law)

    with pytest.raises(UserError, match="gives no tables"):
        judge(Blind(), learnt(random_policy(1, 3, 2, 2)), n_episodes=20, seed=1)
