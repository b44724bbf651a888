"""Empirical distributions, entropy and divergence, against loops and scipy."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from mf_pmd.functional.distributions import count_values, entropy, kl_divergence, others_distribution


def rows(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(shape[-1]) * 0.5, shape[:-1]))


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_entropy_and_divergence_are_those_of_scipy(seed, n_actions):
    p, q = rows(seed, 3, 4, n_actions), rows(seed + 1, 3, 4, n_actions).clamp(min=1e-9)
    q = q / q.sum(-1, keepdim=True)
    assert entropy(p.log()).numpy() == pytest.approx(scipy.stats.entropy(p.numpy(), axis=-1), abs=1e-12)
    kl = kl_divergence(p.log(), q.log())
    assert kl.numpy() == pytest.approx(scipy.stats.entropy(p.numpy(), q.numpy(), axis=-1), abs=1e-9)
    assert (kl >= -1e-12).all()
    assert kl_divergence(p.log(), p.log()).abs().max() == 0


def test_impossible_actions():
    log_p = torch.tensor([0.5, 0.5, 0.0]).log()
    assert entropy(log_p).item() == pytest.approx(math.log(2))
    assert entropy(torch.tensor([1.0, 0.0]).log()).item() == 0
    third = torch.full((3,), 1 / 3).log()
    assert kl_divergence(log_p, third).item() == pytest.approx(math.log(1.5))
    assert kl_divergence(third, log_p).item() == math.inf
    assert entropy(third.float()).dtype == torch.float32


def test_entropy_is_in_nats_of_a_known_row():
    assert entropy(torch.tensor([0.25, 0.75]).log()).item() == pytest.approx(0.5623351, abs=1e-6)


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 30), st.integers(1, 5))
def test_count_values_is_a_histogram(seed, batch_size, n_agents, n_values):
    values = torch.from_numpy(np.random.default_rng(seed).integers(n_values, size=(batch_size, n_agents)))
    counts = count_values(values, n_values)
    assert counts.shape == (batch_size, n_values)
    assert counts.dtype == torch.int64
    for b in range(batch_size):
        assert counts[b].tolist() == [sum(v == k for v in values[b].tolist()) for k in range(n_values)]


@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(1, 5))
def test_others_distribution_leaves_out_the_agent_itself(seed, n_agents, n_values):
    values = torch.from_numpy(np.random.default_rng(seed).integers(n_values, size=(3, n_agents)))
    others = others_distribution(count_values(values, n_values).double())
    assert others.shape == (3, n_values, n_values)
    for b in range(3):
        for i in range(n_agents):
            rest = [values[b, j].item() for j in range(n_agents) if j != i]
            expected = [rest.count(k) / len(rest) for k in range(n_values)]
            assert others[b, values[b, i]].tolist() == pytest.approx(expected, abs=1e-12)


def test_others_distribution_by_hand():
    # five agents at 0 0 0 1 2: who stands at 0 meets 2 1 1 of 4, who stands at 1 meets 3 0 1
    others = others_distribution(torch.tensor([3.0, 1.0, 1.0]))
    assert others[0].tolist() == [0.5, 0.25, 0.25]
    assert others[1].tolist() == [0.75, 0.0, 0.25]
    assert others[2].tolist() == [0.75, 0.25, 0.0]
