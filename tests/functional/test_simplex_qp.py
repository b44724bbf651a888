"""The active set against hand computation, all faces one by one, and other people's solvers."""

import itertools

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_pmd.functional.simplex_qp import simplex_qp


def tensor(numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def objective(weights, points, target, costs):
    """|sum_i lam_i w_i - t|^2 + sum_i lam_i c_i, as the module has it; points [m, D]."""
    return ((weights @ points - target) ** 2).sum(-1) + (weights * costs).sum(-1)


def kkt_residual(weights, points, targets, costs):
    """Of one set of points, by autograd."""
    free = weights.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(free, points, targets, costs).sum(), free)
    worst = gradient.masked_fill(weights <= 0, -torch.inf).amax(-1)
    return worst - gradient.amin(-1)


def by_enumeration(points, target, costs):
    """The minimum, by the equality-constrained optimum of every face, dense pseudo-inverses."""
    best = np.inf
    for size in range(1, points.shape[1] + 2):
        for face in itertools.combinations(range(len(points)), size):
            corners = points[list(face)]
            system = np.block([[2 * corners @ corners.T, np.ones((size, 1))], [np.ones((1, size)), 0.0]])
            pull = 2 * corners @ target - costs[list(face)]
            weights = (np.linalg.pinv(system, rcond=1e-12) @ np.append(pull, 1.0))[:size]
            if weights.min() >= -1e-12 and abs(weights.sum() - 1) < 1e-9:
                value = ((weights @ corners - target) ** 2).sum() + weights @ costs[list(face)]
                best = min(best, value)
    return best


@st.composite
def problems(draw, integers=True):
    """Small ones; on integers nearly everything is a tie, and many points coincide."""
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    count, dimension = draw(st.integers(1, 7)), draw(st.integers(1, 3))
    if integers:
        points = random.integers(-2, 3, (count, dimension)).astype(float)
        targets = random.integers(-3, 4, (5, dimension)).astype(float)
        costs = random.integers(-1, 2, (5, count)).astype(float)
    else:
        points, targets = random.normal(size=(count, dimension)), random.normal(size=(5, dimension))
        costs = draw(st.sampled_from([0.0, 0.3, 3.0])) * random.normal(size=(5, count))
    return points, targets, costs


@pytest.mark.parametrize(
    ("target", "cost", "expected"),
    [(0.5, 0.0, 0.75), (0.5, 1.0, 0.625), (-3.0, 0.0, 0.0), (0.5, -2.0, 1.0), (0.0, 8.0, 0.0)],
)
def test_two_vertices_by_hand(target, cost, expected):
    # (2 lam - 1 - t)^2 + cost lam is least at lam = (1 + t) / 2 - cost / 8, or at the nearer end
    found = simplex_qp(tensor([[-1.0], [1.0]]), tensor([[target]]), tensor([[0.0, cost]]))
    assert found.weights[0].tolist() == pytest.approx([1 - expected, expected], abs=1e-15)
    assert found.residual.item() < 1e-14


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ([0.2, 0.3], [0.5, 0.2, 0.3]),  # inside
        ([0.5, -1.0], [0.5, 0.5, 0.0]),  # below an edge
        ([1.0, 1.0], [0.0, 0.5, 0.5]),  # beyond the long edge
        ([-1.0, -2.0], [1.0, 0.0, 0.0]),  # beyond a corner
    ],
)
def test_nearest_point_of_a_triangle(target, expected):
    triangle = tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = simplex_qp(triangle, tensor([target]), torch.zeros(1, 3, dtype=torch.float64))
    assert found.weights[0].tolist() == pytest.approx(expected, abs=1e-15)
    carried = [i for i in found.support[0].tolist() if i >= 0]
    assert sorted(carried) == [i for i, weight in enumerate(expected) if weight > 0]


@pytest.mark.parametrize("integers", [True, False])
@settings(max_examples=20)
@given(data=st.data())
def test_no_face_does_better(integers, data):
    points, targets, costs = data.draw(problems(integers=integers))
    found = simplex_qp(*(torch.from_numpy(part) for part in (points, targets, costs)))
    for row in range(len(targets)):
        reached = objective(found.weights[row].numpy(), points, targets[row], costs[row])
        assert reached == pytest.approx(by_enumeration(points, targets[row], costs[row]), abs=1e-11)


@pytest.mark.parametrize("integers", [True, False])
@settings(max_examples=20)
@given(data=st.data())
def test_the_conditions_hold_and_the_support_is_affinely_independent(integers, data):
    points, targets, costs = (torch.from_numpy(part) for part in data.draw(problems(integers=integers)))
    found = simplex_qp(points, targets, costs)
    assert (found.weights >= 0).all()
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(5, dtype=torch.float64), atol=1e-14, rtol=0)
    assert kkt_residual(found.weights, points, targets, costs).max() < 1e-12
    assert found.residual.max() < 1e-12
    for row in range(5):
        carried = found.support[row][found.support[row] >= 0]
        assert set(found.weights[row].nonzero().flatten().tolist()) <= set(carried.tolist())
        lifted = torch.cat([points[carried], torch.ones(len(carried), 1, dtype=torch.float64)], -1)
        assert torch.linalg.matrix_rank(lifted) == len(carried)


@settings(max_examples=12)
@given(problems(integers=False), st.integers(0, 6))
def test_problems_do_not_meet(problem, first):
    """Alone, with points of their own, in any order: the same solution."""
    points, targets, costs = (torch.from_numpy(part) for part in problem)
    together = simplex_qp(points, targets, costs)
    own = simplex_qp(points.expand(5, -1, -1), targets, costs)
    back = simplex_qp(points, targets.flip(0), costs.flip(0))
    start = torch.full((5,), first % len(points))
    elsewhere = simplex_qp(points, targets, costs, start=start)
    for other in (own.weights, back.weights.flip(0), elsewhere.weights):
        torch.testing.assert_close(other @ points, together.weights @ points, atol=1e-12, rtol=0)
    for row in range(5):
        alone = simplex_qp(points, targets[row : row + 1], costs[row : row + 1])
        torch.testing.assert_close(alone.weights[0], together.weights[row], atol=1e-12, rtol=0)


@pytest.mark.parametrize("seed", range(6))
def test_points_of_each_problem(seed):
    random = torch.Generator().manual_seed(seed)
    points = torch.randn(9, 12, 3, generator=random, dtype=torch.float64)
    targets = torch.randn(9, 3, generator=random, dtype=torch.float64)
    costs = torch.randn(9, 12, generator=random, dtype=torch.float64)
    found = simplex_qp(points, targets, costs)
    for row in range(9):
        one = slice(row, row + 1)
        alone = simplex_qp(points[row], targets[one], costs[one])
        torch.testing.assert_close(found.weights[one], alone.weights, atol=1e-12, rtol=0)


@pytest.mark.parametrize("seed", range(4))
def test_against_non_negative_least_squares(seed):
    """c = 0 is the nearest point of a polytope: NNLS on (W - t, 1), scaled to sum 1."""
    random = np.random.default_rng(seed)
    points, targets = random.normal(size=(40, 6)), 1.5 * random.normal(size=(5, 6))
    found = simplex_qp(torch.from_numpy(points), torch.from_numpy(targets), torch.zeros(5, 40).double())
    for row, target in enumerate(targets):
        system = np.vstack([(points - target).T, np.ones(40)])
        weights = scipy.optimize.nnls(system, np.append(np.zeros(6), 1.0))[0]
        expected = points.T @ weights / weights.sum()
        assert found.weights[row].numpy() @ points == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_against_slsqp(seed):
    random = np.random.default_rng(seed)
    points, target, costs = random.normal(size=(8, 3)), random.normal(size=3), random.normal(size=8)
    solved = scipy.optimize.minimize(
        objective,
        np.full(8, 1 / 8),
        args=(points, target, costs),
        method="SLSQP",
        bounds=[(0, 1)] * 8,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    found = simplex_qp(*(torch.from_numpy(part) for part in (points, target[None], costs[None])))
    assert found.weights[0].numpy() == pytest.approx(solved.x, abs=1e-5)
    assert objective(found.weights[0].numpy(), points, target, costs) <= solved.fun + 1e-12


def test_a_flat_set_is_a_linear_programme():
    # all vertices in one place: the cheapest takes all; no face has two
    found = simplex_qp(torch.ones(5, 2).double(), torch.zeros(1, 2).double(), tensor([[3.0, 1, 2, 0, 4]]))
    assert found.weights[0].tolist() == [0, 0, 0, 1, 0]
    # on a line with concave costs only the ends count, with convex costs the neighbours of the target
    line = torch.arange(-4, 5).double()[:, None]
    concave = simplex_qp(line, tensor([[0.5]]), -(line.T**2)).weights[0]
    assert (concave.nonzero().flatten().tolist(), concave[8].item()) == ([0, 8], pytest.approx(9 / 16))
    convex = simplex_qp(line, tensor([[0.25]]), 10 * line.T**2).weights[0]
    assert convex.nonzero().flatten().tolist() == [4]


@pytest.mark.parametrize("shape", ["cube", "cross", "lattice", "duplicates", "moments"])
def test_polytopes_of_ties(shape):
    """Targets on faces of every dimension, at corners and outside; costs zero and tight."""
    random = torch.Generator().manual_seed(0)
    corners = {
        "cube": torch.cartesian_prod(*[tensor([-1.0, 1.0])] * 6),
        "cross": torch.cat([torch.eye(6), -torch.eye(6)]).double(),
        "lattice": torch.cartesian_prod(*[torch.arange(5)] * 3).double() / 4,
        "duplicates": torch.eye(4).double().repeat(6, 1),
        "moments": torch.linspace(-1, 1, 80).double()[:, None] ** torch.arange(1, 6),
    }[shape]
    few = torch.randint(len(corners), (300, 3), generator=random)
    targets = torch.cat([corners[few].mean(1), corners[few[:, :2]].mean(1), corners[few[:, 0]]])
    targets = torch.cat([targets, 1.5 * targets])
    for scale in (0.0, 1.0):
        costs = scale * ((corners**2).sum(-1) - 2 * targets @ corners.T)
        found = simplex_qp(corners, targets, costs)
        assert kkt_residual(found.weights, corners, targets, costs).max() < 1e-12
        assert found.iterations.max() < 60
    inside = simplex_qp(corners, targets[:900], torch.zeros(900, len(corners)).double())
    assert (inside.weights @ corners - targets[:900]).abs().max() < 1e-12


def test_a_limit_leaves_an_honest_residual():
    random = torch.Generator().manual_seed(0)
    points, targets = (torch.randn(n, 5, generator=random, dtype=torch.float64) for n in (60, 20))
    costs = torch.randn(20, 60, generator=random, dtype=torch.float64)
    optimum = simplex_qp(points, targets, costs)
    least = objective(optimum.weights, points, targets, costs)
    missed, residual = [], torch.full((20,), torch.inf, dtype=torch.float64)
    for limit in range(8):
        found = simplex_qp(points, targets, costs, limit=limit)
        assert found.iterations.max() <= limit
        torch.testing.assert_close(found.residual, kkt_residual(found.weights, points, targets, costs))
        gap = objective(found.weights, points, targets, costs) - least
        assert (gap <= found.residual + 1e-12).all()
        missed.append(gap.sum())
        if limit > 0:  # the best face so far, although the last may be worse
            assert (found.residual <= residual).all()
            residual = found.residual
    assert missed[0] > missed[2] > missed[4] > 1e-3


def test_of_equal_vertices_the_start_is_kept():
    """Apart by less than the square root of rounding, they are one point to the objective."""
    points = tensor([[0.0], [1e-9], [1.0]])
    for start in (0, 1):
        found = simplex_qp(
            points, points[start : start + 1], torch.zeros(1, 3).double(), start=tensor([start]).long()
        )
        assert found.weights[0, start] == 1


def test_arguments_stay_as_they_are():
    points, targets, costs = (
        torch.randn(6, 2).double(),
        torch.randn(3, 2).double(),
        torch.randn(3, 6).double(),
    )
    before = [part.clone() for part in (points, targets, costs)]
    simplex_qp(points, targets, costs)
    assert all(torch.equal(old, new) for old, new in zip(before, (points, targets, costs), strict=True))


def test_no_problems_and_one_vertex():
    assert simplex_qp(
        torch.rand(3, 2).double(), torch.rand(0, 2).double(), torch.rand(0, 3).double()
    ).weights.shape == (0, 3)
    one = simplex_qp(torch.rand(1, 2).double(), torch.rand(4, 2).double(), torch.rand(4, 1).double())
    assert (one.weights == 1).all()
    assert (one.residual == 0).all()
