"""Variance components: by hand, without bias, and never made of noise."""

import pytest
import torch

from mf_pmd.functional.spread_over_agents import (
    Jackknifed,
    corrected_means,
    eligible,
    measured,
    variance_over_agents,
)


def test_variance_by_hand():
    # two agents, two blocks, one cell: t = (1, 3), (2, 2) over n = 1 each, e = (-1, 1), (0, 0)
    sums = torch.tensor([[[1.0], [2.0]], [[3.0], [2.0]]]).double()  # [K, N, C]
    noise = torch.tensor([[[-1.0], [0.0]], [[1.0], [0.0]]]).double()
    found = variance_over_agents(sums, noise, torch.ones(2, 2, 1).double())
    squares = ((16 - 2) / 4 + 16 / 4) / 2
    mean = 2.0**2 - 2 * 0.25**2  # block by block, the noise of the mean is e / 2 / 2
    assert found.value.item() == pytest.approx(squares - mean)
    # without block 0: (9 - 1) / 1 and 4 / 1, mean 2.5; its noise (1 / 4)^2, grown by (2 / 1)^2
    left = (8 + 4) / 2 - (2.5**2 - 0.25**2 * 4)
    assert found.left_out[0].item() == pytest.approx(left)


def test_jackknife_by_hand():
    found = Jackknifed(torch.tensor(2.0).double(), torch.tensor([1.0, 2.0, 3.0, 2.0]).double())
    assert found.error.item() == pytest.approx((3 / 4 * 2.0) ** 0.5)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = torch.randn(9, generator=torch.Generator().manual_seed(0)).double()
    left_out = (values.sum() - values) / 8
    found = Jackknifed(values.mean(), left_out)
    assert found.error.item() == pytest.approx(values.std().item() / 3)


def test_who_counts():
    visits = torch.zeros(10, 4, 3).double()
    visits[:, :3, 0] = 4  # three agents in every block
    visits[0, 3, 0] = 70  # one in a single block
    visits[:4, :, 1] = 40  # four agents, in four blocks alone
    visits[:, :3, 2] = 3  # ninety visits of those who count
    visits[0, 3, 2] = 70
    alone = [False, True, False]
    assert eligible(visits).tolist() == [[True] * 3, [True] * 3, [True] * 3, alone]
    dropped = torch.zeros(3).double()
    assert measured(visits, dropped).tolist() == [True, False, False]
    dropped[0] = 63  # of 253
    assert measured(visits, dropped)[0]
    dropped[0] = 64
    assert not measured(visits, dropped)[0]


def estimates(contrasts_of, coin_play, heads, *, repetitions, **options):
    """Estimated variances of outcome and reward in cell 0, and a naive one of the outcome, [R, 3]."""
    rows = []
    for seed in range(repetitions):
        played = coin_play(seed, heads, **options)
        found = contrasts_of(played, n_states=2, n_actions=1, tolerance=1e-6)
        sums, noise = next(iter(found.outcomes()))
        naive = (sums.sum(0)[:, 0] / found.visits.sum(0)[:, 0]).var(correction=0)
        parts = [variance_over_agents(*pair, found.visits).value[0] for pair in ((sums, noise), found.reward)]
        rows.append(torch.stack([*parts, naive]))
    return torch.stack(rows)


def off(values, truth):
    """Standard errors by which the mean of seeded repetitions misses the truth."""
    return ((values.mean() - truth) / (values.std() / len(values) ** 0.5)).item()


@pytest.mark.parametrize("spread", [0.0, 0.15])
def test_variances_have_no_bias_and_noise_is_none(contrasts_of, coin_play, spread):
    heads = 0.4 + spread * torch.linspace(-1, 1, 20).double()
    pay, luck = 0.5 + spread * torch.linspace(1, -1, 20).double(), torch.linspace(0, 0.3, 20).double()
    found = estimates(
        contrasts_of, coin_play, heads, repetitions=60, n_episodes=16, horizon=3, pay=pay, luck=luck
    )
    assert abs(off(found[:, 0], heads.var(correction=0))) < 3.5
    assert abs(off(found[:, 1], pay.var(correction=0))) < 3.5
    assert off(found[:, 2], heads.var(correction=0)) > 10  # noise taken for asymmetry


def test_noise_that_goes_with_visits_is_none_either(contrasts_of, coin_play):
    # agents of equal mean pay, of whom those who come often have the noise
    heads = torch.linspace(0.2, 0.8, 20).double()
    found = estimates(
        contrasts_of,
        coin_play,
        heads,
        repetitions=60,
        n_episodes=16,
        horizon=3,
        pay=torch.full((20,), 0.5).double(),
        luck=0.5 * (1 - heads),
    )
    assert abs(off(found[:, 1], 0.0)) < 3.5


def test_small_groups_make_no_spread_of_noise(contrasts_of):
    # alike agents in groups of one to four: corrections for who is met would be noise, were they not shrunk
    found = []
    for seed in range(60):
        random = torch.Generator().manual_seed(seed)
        actions = torch.randint(12, (24, 2, 24), generator=random)
        rewards = torch.rand(24, 2, 24, generator=random).double()
        played = torch.zeros(24, 3, 24).long(), actions, rewards
        contrasts = contrasts_of(played, n_states=1, n_actions=12, tolerance=1e-6)
        found.append(variance_over_agents(*contrasts.reward, contrasts.visits).value.mean())
    assert abs(off(torch.stack(found), 0.0)) < 3.5


def test_means_of_visits_that_depend_on_their_noise():
    # one stays with probability .9 until one leaves, or ten times: T / n over 20 such stays says too little
    random = torch.Generator().manual_seed(0)
    stays = torch.rand(20, 8000, 10, generator=random).double() < 0.9
    there = torch.cat([torch.ones(20, 8000, 1).double(), stays.double().cumprod(-1)[..., :-1]], -1)
    visits, sums = there.sum(-1).unsqueeze(-1), (there * stays).sum(-1).unsqueeze(-1)  # [K, N, 1]
    plain = (sums.sum(0) / visits.sum(0))[:, 0]
    corrected = corrected_means(sums.unsqueeze(0), visits)[0, :, 0]
    assert off(plain, 0.9) < -8
    assert abs(off(corrected, 0.9)) < 3.5
    left_out = (sums.sum(0) - sums) / (visits.sum(0) - visits)
    found = Jackknifed(sums.sum(0) / visits.sum(0), left_out).corrected[:, 0]
    assert torch.allclose(found, corrected, atol=1e-12)


def test_a_mean_of_one_block_is_not_corrected():
    sums, visits = torch.tensor([[[3.0]], [[0.0]]]).double(), torch.tensor([[[4.0]], [[0.0]]]).double()
    assert corrected_means(sums, visits).item() == 0.75
    assert corrected_means(0 * sums, 0 * visits).item() == 0
