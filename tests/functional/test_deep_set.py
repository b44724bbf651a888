"""Deep sets and masks: closed forms, invariance, what is left out."""

import torch

from mf_pmd.functional.deep_set import masked_mean
from mf_pmd.functional.distributions import entropy, kl_divergence
from mf_pmd.functional.masks import mask_logits, masks_nothing


def test_the_mean_is_that_of_who_is_there():
    features = torch.tensor([[[1.0, 4.0], [3.0, 0.0], [100.0, 100.0]], [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]])
    present = torch.tensor([[True, True, False], [False, False, False]])
    assert torch.equal(masked_mean(features, present), torch.tensor([[2.0, 2.0], [0.0, 0.0]]))
    everyone = torch.ones((), dtype=torch.bool).expand(2, 3)
    assert torch.allclose(masked_mean(features, everyone), features.mean(1))


def test_the_mean_over_a_distribution_is_that_of_as_many_agents():
    features = torch.randn(4, 3)
    shares = torch.tensor([0.5, 0.0, 0.3, 0.2])
    agents = features[torch.tensor([0] * 5 + [2] * 3 + [3] * 2)]
    everyone = torch.ones(10, dtype=torch.bool)
    assert torch.allclose(masked_mean(features, shares), masked_mean(agents, everyone), atol=1e-6)


def test_the_mean_does_not_know_who_is_who():
    random = torch.Generator().manual_seed(0)
    features = torch.randn(5, 50, 4, generator=random, dtype=torch.float64)
    present = torch.rand(5, 50, generator=random) < 0.6
    order = torch.randperm(50, generator=random)
    first, second = masked_mean(features, present), masked_mean(features[:, order], present[:, order])
    assert torch.allclose(first, second, rtol=0, atol=1e-14)


def test_an_unavailable_action_has_no_probability_and_adds_nothing():
    logits = torch.randn(6, 3, requires_grad=True)
    available = torch.tensor([[True, True, False]]).expand(6, 3)
    log_policy = torch.log_softmax(mask_logits(logits, available), -1)
    assert torch.equal(log_policy[:, 2].exp(), torch.zeros(6))
    two = torch.log_softmax(logits[:, :2], -1)
    assert torch.allclose(log_policy[:, :2], two)
    assert torch.allclose(entropy(log_policy), entropy(two))
    uniform = torch.log_softmax(mask_logits(torch.zeros(6, 3), available), -1)
    divergence = kl_divergence(log_policy, uniform)
    assert torch.allclose(divergence, kl_divergence(two, torch.full_like(two, 0.5).log()), atol=1e-6)
    divergence.sum().backward()
    assert logits.grad.isfinite().all()
    assert torch.equal(logits.grad[:, 2], torch.zeros(6))


def test_where_nothing_is_available_all_actions_are_alike():
    rows = torch.softmax(mask_logits(torch.randn(2, 4), torch.zeros(2, 4, dtype=torch.bool)), -1)
    assert torch.equal(rows, torch.full((2, 4), 0.25))


def test_a_mask_that_is_one_value_is_told_by_its_strides():
    assert masks_nothing(torch.ones(()).expand(2, 3))
    assert not masks_nothing(torch.ones(2, 3))
    assert not masks_nothing(torch.ones(2, 1).expand(2, 3))
