"""alpha and beta from made-up trajectories whose deviations are known, and what is said of the data."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_pmd.functional.asymmetry import Interval, largest_of, quantiles
from mf_pmd.functional.spread_over_agents import variance_over_agents
from mf_pmd.functional.student_t import t_quantile
from mf_pmd.functional.trajectories import NotTrajectoriesError
from mf_pmd.functional.trajectory_symmetry import symmetry_from_trajectories

TYPES = torch.arange(24) % 2
SIZES = {"n_states": 2, "n_actions": 1}


def tossed(coin_play, seed, spread, **options):
    """Agents of two types whose coins and mean rewards are ``spread`` from the mean, up and down."""
    side = spread * (1.0 - 2.0 * TYPES.double())
    luck = torch.full_like(side, 0.2)
    played = coin_play(seed, 0.5 + side, pay=0.5 - side, luck=luck, n_episodes=40, horizon=6, **options)
    return symmetry_from_trajectories(*played, types=TYPES, **SIZES)


def figures(found):
    """Every figure as (lower, upper) of a largest, alpha then beta."""
    for part, norm in ((found.alpha, 2.0), (found.beta, 1.0)):
        yield norm, part.largest_rms.lower, part.largest_rms.upper
        yield norm, part.largest_by_type.lower, part.largest_by_type.upper
        yield norm, part.at_least.value, part.at_most.value


@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_known_deviations_are_covered(coin_play, spread):
    n_seeds = 25
    covered = torch.zeros(6)
    for seed in range(n_seeds):
        found = tossed(coin_play, seed, spread)
        truths = [lower <= norm * spread <= upper for norm, lower, upper in figures(found)]
        covered += torch.tensor(truths).float()
    assert covered.min() >= n_seeds - 4  # P(fewer) = .007 at 95 %, and all but the rms are wider


def test_intervals_say_something(coin_play):
    found = tossed(coin_play, 0, 0.2)
    for norm, lower, upper in list(figures(found))[:2]:
        assert 0.3 * norm * 0.2 < lower
        assert upper < 2 * norm * 0.2
    assert found.alpha.at_least.value > 0.2
    assert found.beta.at_least.value > 0.1
    assert found.types.tolist() == [0, 1]
    assert (found.level, found.n_agents, found.n_episodes, found.n_blocks) == (0.95, 24, 40, 20)


def test_two_outcomes_share_an_interval(coin_play, contrasts_of):
    # the second probability is one minus the first: alpha is twice one root, at its own quantile
    heads = torch.linspace(0.2, 0.8, 24).double()
    played = coin_play(3, heads, n_episodes=40, horizon=6)
    found = symmetry_from_trajectories(*played, **SIZES).alpha
    contrasts = contrasts_of(played, **SIZES, n_blocks=20)
    variance = variance_over_agents(*next(contrasts.outcomes()), contrasts.visits)
    for n_intervals, ends in ((1, found.rms[1:]), (2, found.largest_rms[1:3])):  # of two cells
        half = t_quantile(1 - 0.025 / n_intervals, 19) * variance.error
        expected = [2 * (variance.value + side * half).sqrt() for side in (-1, 1)]
        if n_intervals == 1:
            assert torch.allclose(ends[0].flatten(), expected[0], atol=1e-6)
            assert torch.allclose(ends[1].flatten(), expected[1], atol=1e-6)
        else:
            assert ends == pytest.approx([part.max().item() for part in expected], abs=1e-6)


def test_more_confidence_takes_wider_intervals(coin_play):
    found = tossed(coin_play, 0, 0.2)
    wide = tossed_level(coin_play, 0.99)
    assert (wide.alpha.rms.lower < found.alpha.rms.lower).all()
    assert (wide.alpha.rms.upper > found.alpha.rms.upper).all()
    assert (wide.alpha.by_type.upper > found.alpha.by_type.upper).all()
    assert wide.alpha.at_least.value < found.alpha.at_least.value
    assert wide.alpha.at_most.value > found.alpha.at_most.value


def tossed_level(coin_play, level):
    side = 0.2 * (1.0 - 2.0 * TYPES.double())
    played = coin_play(
        0, 0.5 + side, pay=0.5 - side, luck=torch.full_like(side, 0.2), n_episodes=40, horizon=6
    )
    return symmetry_from_trajectories(*played, types=TYPES, level=level, **SIZES)


def test_a_symmetric_game_without_noise_is_exactly_symmetric():
    states = torch.zeros(10, 4, 4, dtype=torch.long)
    found = symmetry_from_trajectories(
        states, torch.zeros(10, 3, 4).long(), torch.full((10, 3, 4), 0.7), n_states=1, n_actions=1
    )
    assert found.alpha.largest_rms[:3] == (0.0, 0.0, 0.0)
    assert found.beta.largest_rms.lower == 0.0
    assert 0 < found.beta.largest_rms.upper < 1e-6  # what float32 can tell
    assert found.alpha.by_type is None
    assert found.beta.largest_by_type is None
    assert found.types is None


def test_unequal_rewards_without_noise_are_told_to_rounding():
    pay = torch.tensor([0.2, 0.4, 0.9]).expand(10, 11, 3)
    found = symmetry_from_trajectories(
        torch.zeros(10, 12, 3).long(),
        torch.zeros(10, 11, 3).long(),
        pay,
        n_states=1,
        n_actions=1,
        types=torch.tensor([5, 7, 9]),
    )
    rms = (torch.tensor([0.3, 0.1, -0.4]).double() ** 2).mean().sqrt().item()
    for largest, truth in ((found.beta.largest_rms, rms), (found.beta.largest_by_type, 0.4)):
        assert largest.lower <= truth <= largest.upper
        assert largest.upper - largest.lower < 2e-6
    assert found.beta.largest_by_type.type == 2
    assert found.types.tolist() == [5, 7, 9]
    assert found.beta.at_least.value <= 0.4 <= found.beta.at_most.value


@settings(max_examples=8)
@given(seed=st.integers(0, 1000))
def test_neither_the_order_of_agents_nor_the_names_of_types_matter(coin_play, seed):
    kind = torch.arange(12) % 3
    heads = torch.tensor([0.3, 0.5, 0.6]).double()[kind]
    played = coin_play(1, heads, pay=heads, luck=torch.full_like(heads, 0.1), n_episodes=20, horizon=6)
    random = torch.Generator().manual_seed(seed)
    order, names = torch.randperm(12, generator=random), torch.randperm(3, generator=random)
    found = symmetry_from_trajectories(*played, types=kind, **SIZES)
    again = symmetry_from_trajectories(
        *(part[:, :, order] for part in played), types=names[kind][order], **SIZES
    )
    for one, other in ((found.alpha, again.alpha), (found.beta, again.beta)):
        for a, b in zip(one.rms, other.rms, strict=True):
            assert torch.allclose(a, b, atol=1e-9)
        for a, b in zip(one.by_type, other.by_type, strict=True):
            assert torch.allclose(a, b[names], atol=1e-9)
        assert one.largest_rms[:3] == pytest.approx(other.largest_rms[:3], abs=1e-9)
        assert one.at_most.value == pytest.approx(other.at_most.value, abs=1e-9)


def test_what_was_seen():
    # agent 3 takes action 1 alone; state 1 is entered in the last step of the first episode alone
    states = torch.zeros(20, 3, 4, dtype=torch.long)
    states[0, 1:, 0] = 1
    actions = torch.zeros(20, 2, 4, dtype=torch.long)
    actions[:, :, 3] = 1
    found = symmetry_from_trajectories(states, actions, torch.full((20, 2, 4), 0.5), n_states=2, n_actions=2)
    seen = found.seen
    assert seen.visits.tolist() == [[119, 40], [1, 0]]
    assert seen.dropped.tolist() == [[0, 40], [1, 0]]
    assert seen.dropped_share == 41 / 160
    assert seen.agents.tolist() == [[3, 0], [0, 0]]
    assert seen.spread_agents.tolist() == [[3, 0], [0, 0]]
    assert seen.measured.tolist() == [[True, False], [False, False]]
    assert seen.never == [(1, 1)]
    assert seen.population_least[1].tolist() == [0.75, 0.0]
    assert seen.population_most[1].tolist() == [1.0, 0.25]
    assert seen.population_mean[1].tolist() == pytest.approx([0.9875, 0.0125])
    assert found.beta.rms.upper.isnan().tolist() == [[False, True], [True, True]]
    assert found.beta.largest_rms.cell == -1  # no place where there is no deviation
    assert found.place(3) == (1, 1)


def test_nothing_measured_is_said():
    # nobody is ever in a cell with another
    actions = torch.arange(3).expand(10, 2, 3)
    found = symmetry_from_trajectories(
        torch.zeros(10, 3, 3).long(), actions, torch.full((10, 2, 3), 0.5), n_states=1, n_actions=3
    )
    assert found.seen.dropped_share == 1
    assert found.alpha.largest_rms == (2.0, 0.0, 2.0, -1, -1, False)
    assert found.beta.at_least.value == 0


def test_what_is_refused():
    played = torch.zeros(10, 3, 3).long(), torch.zeros(10, 2, 3).long(), torch.full((10, 2, 3), 0.5)
    for options, message in (
        ({"types": torch.zeros(4)}, "one label an agent"),
        ({"level": 0.3}, "level=0.3"),
        ({"level": 1.0}, "level=1.0"),
        ({"n_blocks": 2}, "n_blocks=2"),
    ):
        with pytest.raises(NotTrajectoriesError, match=message):
            symmetry_from_trajectories(*played, n_states=1, n_actions=1, **options)
    many = torch.zeros(10, 3, 70).long(), torch.zeros(10, 2, 70).long(), torch.full((10, 2, 70), 0.5)
    with pytest.raises(NotTrajectoriesError, match="70 types"):
        symmetry_from_trajectories(*many, n_states=1, n_actions=1, types=torch.arange(70))


def test_the_largest_by_hand():
    nan = torch.nan
    found = Interval(
        torch.tensor([0.3, nan, 0.2]), torch.tensor([0.0, nan, 0.1]), torch.tensor([0.9, nan, 0.3])
    )
    assert largest_of(found, 2.0) == pytest.approx((0.3, 0.1, 0.9, 0, -1, True))  # where .3 is, not .1
    by_type = Interval(*(torch.stack([part * 0, part]) for part in found))
    assert largest_of(by_type, 2.0) == pytest.approx((0.3, 0.1, 0.9, 0, 1, True))
    assert largest_of(found, 2.0, resolution=0.4) == pytest.approx((0.3, 0.1, 0.9, -1, -1, True))
    nothing = Interval(*(torch.where(part.isnan(), nan, 0.0) for part in found))
    assert largest_of(nothing, 2.0) == (0.0, 0.0, 0.0, -1, -1, True)  # what is nothing is nowhere
    assert largest_of(Interval(*[torch.full((3,), nan)] * 3), 2.0) == (2.0, 0.0, 2.0, -1, -1, False)


def test_quantiles_are_shared_out():
    found = quantiles(torch.tensor([0, 1, 6]), 0.95, 19)
    assert found.tolist() == [t_quantile(1 - 0.025 / n, 19) for n in (1, 1, 6)]
