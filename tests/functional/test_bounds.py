"""The certificate's arithmetic: by hand, in its limits, and how it moves with what it is given."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.functional.bounds import Terms, certificate

BY_HAND = {
    "alpha": 0.2,
    "beta": 0.01,
    "lipschitz_transition": 0.1,
    "lipschitz_reward": 0.1,
    "lipschitz_population": 0.5,
    "n_agents": 5,
    "n_cells": 5,
    "horizon": 3,
}
CONSTANTS = tuple(BY_HAND)[:5]


def approx(values):
    return pytest.approx(values, abs=1e-12)


def test_by_hand():
    # e_0 = 1, 2 L_P / n = .05; c_1 = .25 + .1, c_2 = .35 + .25 + .135, both smaller ways round
    found = certificate(**BY_HAND)
    assert found.population_error.tolist() == approx([1.0, 1.35, 1.735])
    assert found.law_error.tolist() == approx([0.0, 0.3, 0.635])
    assert found.bound == approx(0.03 + 0.1 * 4.085 + 0.935 / 2)
    assert found.terms == approx(Terms(sampling=0.486, exchange=0.018, alpha=0.372, beta=0.03))


def test_the_first_recursion_by_hand():
    # e_1 = 1 + .25 + .5, e_2 = 1 + .25 + .875 = 2.125, cut to 2
    found = certificate(**BY_HAND, coupled=False)
    assert found.population_error.tolist() == approx([1.0, 1.75, 2.0])
    assert found.law_error.tolist() == approx([0.0, 0.3, 0.675])
    assert found.bound == approx(0.03 + 0.1 * 4.75 + 0.975 / 2)
    # of e_2 before the cut: sampling 1.75, exchange .075, alpha .3
    share = 2 / 2.125
    assert found.terms.sampling == approx(0.1 * (1 + 1.5 + 1.75 * share) + (0.1 + 0.25) / 2)
    assert found.terms.exchange == approx(0.1 * (0.05 + 0.075 * share) + 0.005 / 2)
    assert found.terms.alpha == approx(0.1 * (0.2 + 0.3 * share) + (0.2 + 0.42) / 2)
    assert found.terms.beta == approx(0.03)


def test_the_smaller_of_the_two_forms_is_taken():
    forgetful = certificate(**{**BY_HAND, "lipschitz_population": 0.0})
    assert forgetful.population_error.tolist() == approx([1.0, 1.25, 1.25])
    # agents who do not act on one another are sampled once, however far their update carries
    apart = {**BY_HAND, "alpha": 0.0, "lipschitz_transition": 0.0, "lipschitz_population": 1.0}
    assert certificate(**apart).population_error.tolist() == approx([1.0, 1.0, 1.0])
    assert certificate(**apart, coupled=False).population_error.tolist() == approx([1.0, 2.0, 2.0])


def test_no_step_is_off_by_more_than_the_rewards():
    # .4 + .5 * 1.35 + .3 / 2 = 1.225 and .4 + .5 * 1.735 + .635 / 2 = 1.585, each cut to 1
    found = certificate(**{**BY_HAND, "beta": 0.4, "lipschitz_reward": 0.5})
    assert found.bound == approx(0.9 + 1 + 1)
    assert found.terms.beta == approx(0.4 * (1 + 1 / 1.225 + 1 / 1.585))
    assert sum(found.terms) == approx(2.9)
    assert certificate(**{**BY_HAND, "beta": 1.0}).bound == approx(3.0)


def test_one_step_and_two_agents():
    found = certificate(**{**BY_HAND, "horizon": 1, "n_agents": 2})
    assert found.population_error.tolist() == approx([2.0])  # sqrt(4 / 1), the cap itself
    assert found.law_error.tolist() == [0.0]
    assert found.bound == approx(0.01 + 0.1 * 2)
    assert certificate(**{**BY_HAND, "n_agents": 2, "n_cells": 2}).population_error[0] == 1.0
    assert certificate(**{**BY_HAND, "n_agents": 2, "n_cells": 400}).population_error[0] == approx(2.0)


def test_the_gap_and_when_it_says_nothing():
    found = certificate(**BY_HAND)
    assert found.nash_gap(0.25) == approx(0.25 + 2 * 0.906)
    assert not found.vacuous(3 - 2 * found.bound - 1e-9)
    assert found.vacuous(3 - 2 * found.bound)
    assert found.vacuous(3.0)


constants = st.fixed_dictionaries(
    {
        "alpha": st.floats(0, 2),
        "beta": st.floats(0, 1),
        "lipschitz_transition": st.floats(0, 3),
        "lipschitz_reward": st.floats(0, 1),
        "lipschitz_population": st.floats(0, 4),
        "n_agents": st.integers(2, 10**6),
        "n_cells": st.integers(1, 300),
        "horizon": st.integers(1, 12),
    }
)


@given(constants, st.booleans())
def test_parts_add_up_and_nothing_exceeds_the_cap(settings, coupled):
    found = certificate(**settings, coupled=coupled)
    assert sum(found.terms) == pytest.approx(found.bound, rel=1e-12, abs=1e-300)
    assert min(found.terms) >= 0
    for errors in (found.population_error, found.law_error):
        assert errors.shape == (settings["horizon"],)
        assert errors.dtype == torch.float64
        assert errors.min() >= 0
        assert errors.max() <= 2 + 1e-12
    steps = settings["beta"] + settings["lipschitz_reward"] * found.population_error + found.law_error / 2
    assert found.bound == pytest.approx(steps.clamp(max=1).sum().item())


@given(constants, st.booleans(), st.floats(0, 1), st.integers(1, 50))
def test_monotone_in_every_argument(settings, coupled, more, many):
    found = certificate(**settings, coupled=coupled)
    for name in BY_HAND:
        step = many if isinstance(settings[name], int) else more
        other = certificate(**{**settings, name: settings[name] + step}, coupled=coupled)
        sign = -1 if name == "n_agents" else 1
        assert sign * (other.bound - found.bound) >= -1e-9
        shared = other.population_error[: settings["horizon"]] - found.population_error
        assert (sign * shared).min() >= -1e-9
        assert (sign * (other.law_error[: settings["horizon"]] - found.law_error)).min() >= -1e-9


@given(constants)
def test_coupling_never_makes_it_worse(settings):
    sharper, plain = certificate(**settings), certificate(**settings, coupled=False)
    assert sharper.bound <= plain.bound + 1e-9
    assert (sharper.population_error <= plain.population_error + 1e-9).all()


@given(constants)
def test_each_source_alone(settings):
    alone = {**settings, **dict.fromkeys(CONSTANTS, 0.0)}
    assert certificate(**alone).bound == 0.0  # whatever N: nobody is affected by anybody
    only_beta = certificate(**{**alone, "beta": settings["beta"]})
    assert only_beta.bound == pytest.approx(settings["horizon"] * settings["beta"])
    one_cell = certificate(**{**settings, "n_cells": 1, "alpha": 0.0, "beta": 0.0})
    assert one_cell.terms.sampling == one_cell.terms.alpha == one_cell.terms.beta == 0.0
    # symmetric, and no law depends on the population: the deviator's law is exact whatever the others do
    free = certificate(**{**settings, "alpha": 0.0, "lipschitz_transition": 0.0})
    assert free.law_error.tolist() == [0.0] * settings["horizon"]
    assert free.terms.alpha == free.terms.exchange == 0.0
    exact = certificate(**{**settings, "alpha": 0.0, "beta": 0.0, "lipschitz_reward": 0.0})
    assert exact.bound == pytest.approx(exact.law_error.sum().item() / 2)


def test_many_agents_who_are_alike_need_no_more_than_one_over_root_n():
    alike = {**BY_HAND, "alpha": 0.0, "beta": 0.0, "lipschitz_population": 1.5, "horizon": 6}
    bounds = [certificate(**{**alike, "n_agents": 4**k + 1}).bound for k in (8, 9, 10)]
    assert bounds[0] / bounds[1] == pytest.approx(2.0, rel=0.01)
    assert bounds[1] / bounds[2] == pytest.approx(2.0, rel=0.01)
    assert bounds[2] < 0.01


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", -0.1),
        ("beta", math.nan),
        ("lipschitz_transition", math.inf),
        ("n_agents", 1),
        ("n_cells", 0),
        ("horizon", 0),
    ],
)
def test_no_certificate_from_nonsense(name, value):
    with pytest.raises(AssertionError):
        certificate(**{**BY_HAND, name: value})
