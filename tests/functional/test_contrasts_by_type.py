"""Agents against the types in their group: exact whoever is there; bounds where some never are."""

import pytest
import torch

from mf_pmd.functional.agent_contrasts import outcomes_of
from mf_pmd.functional.contrasts_by_type import contrasts_by_type
from mf_pmd.functional.trajectories import require_play
from mf_pmd.functional.trajectory_symmetry import symmetry_from_trajectories
from mf_pmd.functional.type_contrasts import type_contrasts, types_met


def found(played, kind, *, n_states=1, n_actions=1):
    play = require_play(*played, n_states=n_states, n_actions=n_actions, n_blocks=8)
    known, outcome_of = types_met(play, kind, int(kind.max()) + 1), outcomes_of(play)
    return contrasts_by_type(play, outcome_of, known, type_contrasts(play, outcome_of, known))


def moody_play(kind, *, seed=0, n_episodes=16, horizon=3):
    """Rewards .5 + .3 u x, u = +-1 by type, x in [-1, 1] a mood of the group that decides who is in it."""
    random = torch.Generator().manual_seed(seed)
    side = 1.0 - 2.0 * kind.double()
    mood = torch.rand(n_episodes, horizon, 2, generator=random).double() * 2 - 1
    prefers = 0.5 + 0.35 * (kind == 0) * mood[..., :1]  # the first type avoids action 0 where it is paid more
    actions = (torch.rand(n_episodes, horizon, len(kind), generator=random) < prefers).long()
    deviations = 0.3 * side * mood.gather(2, actions)
    states = torch.zeros(n_episodes, horizon + 1, len(kind)).long()
    return (states, actions, 0.5 + deviations), deviations


def test_deviations_that_follow_the_population_are_exact_agent_by_agent():
    kind = torch.arange(60) % 2
    played, deviations = moody_play(kind)
    contrasts = found(played, kind, n_actions=2)
    assert contrasts.put_in.tolist() == [0, 0]  # both types in every group
    assert contrasts.by_type
    assert contrasts.everyone.all()
    for action in (0, 1):
        expected = (deviations * (played[1] == action)).sum((0, 1))
        assert torch.allclose(contrasts.reward[0].sum(0)[:, action], expected, atol=1e-12)


def test_figures_of_agents_hold_where_deviations_follow_the_population():
    kind = torch.arange(60) % 2
    played, deviations = moody_play(kind, n_episodes=200)
    mine = played[1] == 0
    truth = (deviations * mine).sum((0, 1)) / mine.sum((0, 1))
    truths = truth.std(correction=0).item(), truth.abs().max().item()
    told = symmetry_from_trajectories(*played, n_states=1, n_actions=2, types=kind).beta
    error = (told.rms.upper - told.rms.lower)[0, 0].item()
    assert abs(told.rms.estimate[0, 0].item() - truths[0]) < error
    assert told.at_least.value <= truths[1] <= told.at_most.value


def test_what_is_assumed_is_said():
    kind = torch.arange(6) % 2
    played, _ = moody_play(kind)
    known, blind = (
        symmetry_from_trajectories(*played, n_states=1, n_actions=2, types=types) for types in (kind, None)
    )
    assert "alike" in known.assumes
    assert "do not change with the population" in blind.assumes


def test_agents_of_a_type_may_differ():
    # all four always together: the reference is the mean of all, whatever the types are
    rewards = torch.tensor([0.2, 0.4, 0.7, 0.9]).double().expand(8, 2, 4)
    played = torch.zeros(8, 3, 4).long(), torch.zeros(8, 2, 4).long(), rewards
    for kind in (torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])):
        sums = found(played, kind).reward[0].sum(0)[:, 0] / 16
        assert torch.allclose(sums, torch.tensor([-0.35, -0.15, 0.15, 0.35]).double())


def test_scatter_by_hand():
    # three go to state 1, the last stays; everyone starts anew in state 0
    states = torch.zeros(8, 2, 4, dtype=torch.long)
    states[:, 1, :3] = 1
    played = states, torch.zeros(8, 1, 4).long(), torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(8, 1, 4)
    scatter = found(played, torch.tensor([0, 0, 1, 1]), n_states=2).scatter[:, :, 0]
    expected = 8 * torch.tensor([0.25, 0.25, 0.25, 0.75]).double() ** 2
    assert torch.allclose(scatter, expected.expand(2, 4))


def test_a_type_that_is_missing_is_put_in():
    kind = torch.tensor([0] * 5 + [1] * 5 + [2])
    effect = torch.tensor([0.3, 0.0, 0.1]).double()[kind]
    random = torch.Generator().manual_seed(1)
    actions = (torch.rand(16, 4, 11, generator=random) < 0.5).long()
    mood = 0.4 * torch.rand(16, 4, 2, generator=random).double().gather(2, actions)
    contrasts = found((torch.zeros(16, 5, 11).long(), actions, mood + effect), kind, n_actions=2)
    assert (contrasts.put_in > 0).all()
    means = contrasts.reward[0].sum(0) / contrasts.visits.sum(0)
    assert torch.allclose(means, (effect - effect.mean()).unsqueeze(1).expand(-1, 2), atol=1e-9)


def test_types_that_never_met_tell_nothing():
    kind = torch.tensor([0, 0, 1, 1])
    actions = torch.zeros(8, 2, 4).long()
    actions[:, 0, 2:], actions[:, 1, :2] = 1, 1  # each in either cell, never together
    rewards = (0.2 + 0.5 * kind.double()).expand(8, 2, 4)
    contrasts = found((torch.zeros(8, 3, 4).long(), actions, rewards), kind, n_actions=2)
    assert contrasts.visits.abs().max() == 0
    assert contrasts.dropped.tolist() == [32, 32]
    assert not contrasts.everyone.any()


@pytest.mark.parametrize("known", [True, False])
def test_bounds_hold_where_half_of_the_agents_never_are(known):
    # in action 1, 9 are paid .7, one .3, and 10 who never take it would be paid .34: no one is further than
    # .2 from the mean .5 of all, but the one is .36 from that of those who are there
    kind = torch.tensor([0] * 9 + [1] + [2] * 10)
    actions = (kind < 2).long().expand(40, 3, 20)
    pay = torch.tensor([0.7, 0.3, 0.5]).double()[kind].expand(40, 3, 20)
    found = symmetry_from_trajectories(
        torch.zeros(40, 4, 20).long(), actions, pay, n_states=1, n_actions=2, types=kind if known else None
    ).beta
    assert found.everyone.tolist() == [[False, False]]
    assert found.at_least.estimate == pytest.approx(0.36)
    assert not found.at_least.everyone
    assert 0.13 < found.at_least.value <= 0.2
    assert found.largest_rms.lower <= 0.2
    assert found.at_most.value >= 0.36
    if known:
        assert found.largest_by_type.estimate == pytest.approx(0.36)
        assert found.largest_by_type.lower == pytest.approx(0.36 / 1.9, abs=1e-6)


def test_the_rms_of_many_outcomes_is_no_bound_of_the_norm():
    # each of six types goes to a state of its own with .2, else anywhere: alpha = .2 * 2 * 5 / 6 = .333, but
    # sum_s' sqrt(Var) = 6 * .2 * sqrt(5) / 6 = .447
    random = torch.Generator().manual_seed(0)
    kind = torch.arange(60) % 6
    shape = (100, 11, 60)
    states = torch.randint(6, shape, generator=random)
    own = torch.rand(shape, generator=random) < 0.2
    states[:, 1:] = torch.where(own[:, 1:], kind, states[:, 1:])
    played = states, torch.zeros(100, 10, 60).long(), torch.full((100, 10, 60), 0.5)
    found = symmetry_from_trajectories(*played, n_states=6, n_actions=1, types=kind).alpha
    assert found.largest_rms.estimate > 0.4
    assert 0.15 < found.rms_at_least <= 1 / 3
    assert found.largest_by_type.lower <= 1 / 3 <= found.largest_by_type.upper
    assert found.at_least.value <= 1 / 3
