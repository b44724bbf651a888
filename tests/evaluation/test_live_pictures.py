"""The pictures of a test, from arrays written by hand."""

import numpy as np
import pytest

from mf_pmd.evaluation import figures
from mf_pmd.evaluation.live_pictures import pictures_of_test, scale_of


def arrays(seed, *, horizon=6, n_states=2, n_actions=2):
    random = np.random.default_rng(seed)
    return {
        "population_last": random.dirichlet(np.ones(n_states), horizon + 1),
        "policy_last": random.dirichlet(np.ones(n_actions), (horizon, n_states)),
    }


@pytest.mark.parametrize(("n_states", "n_actions"), [(2, 2), (7, 3), (5, 12)])
def test_pictures_follow_what_they_show(n_states, n_actions):
    sizes = {"n_states": n_states, "n_actions": n_actions}
    first, again, other = (pictures_of_test(arrays(seed, **sizes)) for seed in (1, 1, 2))
    assert set(first) == {"population_flow", "policy"}
    for name, picture in first.items():
        assert picture.dtype == np.uint8
        assert picture.shape == other[name].shape
        assert picture.shape[2] == 3
        assert np.array_equal(picture, again[name])
        assert not np.array_equal(picture, other[name])


def test_nothing_of_an_earlier_picture_is_left():
    first = pictures_of_test(arrays(3))
    pictures_of_test(arrays(4))
    after = pictures_of_test(arrays(3))
    assert all(np.array_equal(first[name], after[name]) for name in first)


def test_colours_are_probabilities():
    """A policy that always takes action 0: one panel of the lightest colour, one of the darkest."""
    policy = np.zeros((4, 6, 2))
    policy[..., 0] = 1
    picture = pictures_of_test({"policy_last": policy})["policy"]
    height, width, _ = picture.shape
    row = picture[height // 2]
    yellow, purple = [253, 231, 36], [68, 1, 84]
    assert abs(row[width // 4].astype(int) - yellow).max() <= 2
    assert abs(row[6 * width // 10].astype(int) - purple).max() <= 2


def test_what_is_not_there_is_not_drawn():
    assert pictures_of_test({}) == {}
    nu = arrays(1)["population_last"]
    assert set(pictures_of_test({"population_last": nu})) == {"population_flow"}


def test_the_scale_is_a_power_of_two_above_the_largest_share():
    assert scale_of(np.array([[0.2, 0.3, 0.5]])) == 0.5
    assert scale_of(np.array([[0.2, 0.3, 0.51]])) == 1.0
    assert scale_of(np.full((1, 10), 0.1)) == 0.125


def test_many_actions_are_one_image_of_the_likeliest():
    policy = np.zeros((1, 2, 9))
    policy[0, 0, 4] = policy[0, 1, 8] = 1
    (image,) = figures.policy_images(policy)
    assert image.tolist() == [[4], [8]]
    assert len(figures.policy_images(policy[..., :8])) == 8
