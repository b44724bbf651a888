"""Bounds on the largest deviation: valid where normal quantiles are not, and of use where there is one."""

import math

import pytest
import torch

from mf_pmd.functional.largest_deviation import exceeds, largest_at_least, largest_at_most, noise_at_most


def test_the_bound_on_noise_by_hand():
    # no scatter: the largest lambda of ten is best, and ln(10 / p) / .95 is left
    assert noise_at_most(torch.zeros(1), math.log(20)).item() == pytest.approx(math.log(200) / 0.95)
    # lambda = .1 alone: psi = -ln(.9) - .1
    psi = -math.log(0.9) - 0.1
    found = noise_at_most(torch.tensor([2000.0]).double(), math.log(1e6)).item()
    assert found <= (math.log(1e7) + psi * 2000) / 0.1 + 1e-9
    assert found == pytest.approx(math.sqrt(2 * 2000 * math.log(1e7)), rel=0.1)  # the normal tail's rate


@pytest.mark.parametrize("p", [0.5, 0.05, 0.002])
def test_the_bound_on_noise_holds_whenever_one_stops(p):
    # coins of probability p and their mean over 20 others; stopped when the noise is largest
    random = torch.Generator().manual_seed(0)
    own = (torch.rand(2000, 150, generator=random).double() < p).double()
    others = (torch.rand(2000, 150, 20, generator=random).double() < p).double().mean(-1)
    contrast = own - others
    bound = noise_at_most((contrast**2).cumsum(1), math.log(1 / 0.05))
    assert (contrast.cumsum(1) > bound).any(1).double().mean() <= 0.05
    assert (-contrast.cumsum(1) > bound).any(1).double().mean() <= 0.05


def test_normal_quantiles_do_not_hold_for_rare_events():
    # 100 visits, an event of probability .01: 37 % of all agents never see it and would claim no deviation of
    # their own with no error at all, so that five standard errors miss the truth 37 % of the time
    random = torch.Generator().manual_seed(1)
    seen = (torch.rand(2000, 100, generator=random).double() < 0.01).double()
    mean, error = seen.mean(1), seen.std(1) / 10
    missed = ((mean - 0.01).abs() > 5 * error).double().mean().item()
    assert missed == pytest.approx(0.99**100, abs=0.05)
    bound = noise_at_most(((seen - 0.01) ** 2).sum(1), math.log(2 / 3e-7)) / 100
    assert ((mean - 0.01).abs() <= bound).all()


def block_sums(*, deviations, n_blocks=12, noise=0.0, visits=4, seed=0):
    """sums [1, K, N, 1] and visits [K, N, 1] of rewards."""
    random = torch.Generator().manual_seed(seed)
    n_agents = len(deviations)
    draws = noise * torch.randn(n_blocks, n_agents, generator=random).double() * visits**0.5
    count = torch.full((n_blocks, n_agents, 1), float(visits)).double()
    return (deviations * visits + draws).reshape(1, n_blocks, n_agents, 1), count


EVERYONE = torch.ones(1, dtype=torch.bool)
OPTIONS = {"everyone": EVERYONE, "level": 0.95, "largest": 1.0, "resolution": 0.0}


def test_the_lower_bound_by_hand():
    # no noise: the agent that deviates most is taken alone or with another of the same deviation
    deviations = torch.tensor([0.1, -0.4, 0.4, 0.0]).double()
    found = largest_at_least(*block_sums(deviations=deviations), **OPTIONS)
    assert found.estimate == pytest.approx(0.4)
    assert found.n_agents == 2
    assert found.value == pytest.approx(0.4 - math.log(40) / (2 * 6 * 4))  # six blocks measured them
    assert found.cell == 0


def test_the_lower_bound_is_not_that_of_a_lucky_agent():
    # 300 agents that do not deviate: the largest raw mean says .5, and the bound is 0 but for 1 of 40
    flattered, above = [], 0
    for seed in range(60):
        sums, visits = block_sums(deviations=torch.zeros(300).double(), noise=1.0, seed=seed)
        found = largest_at_least(sums, visits, **OPTIONS)
        flattered.append((sums.sum(1) / visits.sum(0)).abs().max().item())
        above += found.value > 0
    assert min(flattered) > 0.3
    assert above <= 5  # P(more) = .003 at 2.5 %


def test_many_agents_who_deviate_a_little_are_found_together():
    # no single agent stands out of noise ten times its deviation in a visit
    deviations = 0.1 * torch.where(torch.arange(400) < 200, 1.0, -1.0).double()
    for seed in range(5):
        found = largest_at_least(
            *block_sums(deviations=deviations, noise=1.0, visits=12, seed=seed), **OPTIONS
        )
        assert 0.01 < found.value <= 0.1
        assert found.n_agents > 10


def test_who_is_hardly_seen_is_not_believed():
    # one visit a block that is always alike: seven of them may miss an event of probability a third
    sums, visits = block_sums(deviations=torch.tensor([0.3, 0.0, 0.0]).double(), visits=1, n_blocks=12)
    assert largest_at_least(sums, visits, **OPTIONS).value == 0
    visits[1::2, 0] = 0  # nor who was not there in the half that measures
    sums[:, 1::2, 0] = 0
    assert largest_at_least(sums, visits, **OPTIONS).value == 0


def test_nothing_to_deviate_in():
    none = torch.zeros(0, 12, 3, 1).double()
    assert largest_at_least(none, torch.ones(12, 3, 1).double(), **OPTIONS) == (0.0, 0.0, -1, 0, True)


def test_the_upper_bound_by_hand():
    sums, visits = block_sums(deviations=torch.tensor([0.1, -0.4, 0.2]).double(), visits=100)
    scatter = torch.zeros(3, 1).double()
    scatter[2] = 300.0
    options = {"log_events": math.log(2), "times": 1.0, "level": 0.95, "largest": 1.0}
    found = largest_at_most(sums, scatter, visits, **options)
    log_odds = math.log(2) + math.log(3) + math.log(2 / 0.05)
    none, some = (noise_at_most(torch.tensor([v]).double(), log_odds).item() / 1200 for v in (0.0, 300.0))
    assert found.value == pytest.approx(max(0.4 + none, 0.2 + some))
    assert found.agent == (1 if 0.4 + none > 0.2 + some else 2)
    assert found.by_cell.tolist() == [found.value]
    few = largest_at_most(sums[:, :, :, :] / 100, scatter, visits / 100, **options)
    assert few.value == 1.0  # never more than there can be
    visits[:, 1:] = 0
    there = largest_at_most(sums, scatter, visits, **options)
    assert there.agent == 0  # of who was there
    assert there.value == pytest.approx(0.1 + none)  # and the odds count who might have been
    nobody = largest_at_most(sums, scatter, visits * 0, **options)
    assert (nobody.value, nobody.cell, nobody.agent) == (0.0, -1, -1)


def test_where_some_never_were_the_bound_is_divided():
    over = exceeds(torch.tensor([True, False]), 4)
    assert over.tolist() == [1.0, 1.5]
    deviations = torch.tensor([0.1, -0.4, 0.4, 0.0]).double()
    sums, visits = block_sums(deviations=deviations)
    found = largest_at_least(sums, visits, **{**OPTIONS, "everyone": ~EVERYONE})
    assert found.value == pytest.approx((0.4 - math.log(40) / (2 * 6 * 4)) / 1.5)
    assert not found.everyone
    # of two cells, the one that all were in is preferred: .3 is more than .4 / 1.5
    sums, visits = block_sums(deviations=deviations, visits=40)
    both = torch.cat([sums, 0.75 * sums], 3), torch.cat([visits, visits], 2)
    found = largest_at_least(*both, **{**OPTIONS, "everyone": torch.tensor([False, True])})
    assert (found.cell, found.everyone) == (1, True)
    assert found.estimate == pytest.approx(0.3)
