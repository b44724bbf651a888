"""Extensions of tight data: random data leaves so much room that any interpolation would pass."""

import functools
import itertools

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_pmd.functional import extension as module
from mf_pmd.functional.extension import (
    ConstantTooSmallError,
    ExtensionError,
    NotAFunctionError,
    NotSolvedError,
    extend,
    kirszbraun,
    lift,
    lipschitz_constant,
    mcshane_whitney,
    on_coordinates,
    piecewise_linear,
    steepest_pair,
)
from mf_pmd.functional.simplex_qp import simplex_qp


def tensor(numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def lattice(n, cells):
    """Every distribution of n agents on so many cells, [m, cells]."""
    counts = [c for c in itertools.product(range(n + 1), repeat=cells) if sum(c) == n]
    return tensor(counts) / n


def rotation(size, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=random, dtype=torch.float64))[0]


def ramp(z):
    """A law on two next states that leaves the first linearly."""
    return torch.stack([z[:, 0], 1 - z[:, 0]], -1)


POINTS = {
    "lattice": lattice(5, 4),
    "box": torch.rand(60, 4, generator=torch.Generator().manual_seed(1)).double(),
}
FUNCTIONS = {
    "linear": lambda z: z @ rotation(4)[:, :2] * tensor([3.0, 1.0]),
    "rotation": lambda z: z @ rotation(4),
    "fold": lambda z: (z[:, :1] - 0.4).abs(),
    "folds": lambda z: (z - 0.4).abs(),
    "cone": lambda z: (z - z[7]).norm(dim=-1, keepdim=True),
    "law": ramp,
}
TIGHT = [(points, function) for points in POINTS for function in FUNCTIONS]


def tight(points, function):
    """Samples and values whose Lipschitz constant, to be used as M, many pairs attain."""
    samples = POINTS[points]
    return samples, FUNCTIONS[function](samples)


def somewhere(samples, count, *, spread=0.3, seed=0):
    """Convex combinations of few samples: inside, on faces, and a third of them outside."""
    random = torch.Generator().manual_seed(seed)
    few = samples[torch.randint(len(samples), (count, 3), generator=random)]
    weights = torch.rand(count, 3, 1, generator=random, dtype=torch.float64) ** 3
    inside = (few * weights).sum(1) / weights.sum(1)
    away = spread * torch.randn(count, samples.shape[1], generator=random, dtype=torch.float64)
    return torch.where(torch.arange(count)[:, None] % 3 == 0, inside + away, inside)


def formula(weights, samples, values, constant, x):
    """The objective of the explicit formula, term by term as it is written."""
    mean, height = weights @ samples, weights @ values
    return (
        weights @ ((samples - x) ** 2).sum(-1)
        + ((mean - x) ** 2).sum()
        - (weights @ (values**2).sum(-1) - (height**2).sum()) / constant**2
    )


@pytest.mark.parametrize(
    ("constant", "x", "expected"),
    [
        (1.0, 0.3, 0.3),  # tight: the only extension
        (1.0, 1.7, 1.0),  # beyond: the nearest
        (2.0, 0.3, 0.18),  # (1 - 2 x) + 2 (lam - x) - (1 - 2 lam) / 4 = 0
        (2.0, 0.5, 0.5),
        (2.0, 0.1, 0.0),
        (2.0, 0.75, 0.9),
    ],
)
def test_two_samples_by_hand(constant, x, expected):
    found = kirszbraun(tensor([[0.0], [1.0]]), tensor([[0.0], [1.0]]), constant, tensor([[x]]))
    assert found.values.item() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_two_samples_in_space(seed):
    # the slope along z_1 - z_0 is 4 / (2 (1 + r^2)) in units of the samples' own, r = Lip / M
    random = torch.Generator().manual_seed(seed)
    samples, values, x = (torch.randn(n, 3, generator=random, dtype=torch.float64) for n in (2, 2, 40))
    own = lipschitz_constant(samples, values).item()
    along = (samples[1] - samples[0]) / (samples[1] - samples[0]).norm() ** 2
    place = (x - samples.mean(0)) @ along
    for ratio in (1.0, 0.7, 0.1):
        share = (0.5 + 2 / (1 + ratio**2) * place).clamp(0, 1)[:, None]
        found = kirszbraun(samples, values, own / ratio, x)
        torch.testing.assert_close(found.values, torch.lerp(values[0], values[1], share), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("points", "function"), TIGHT)
def test_it_interpolates(points, function):
    samples, values = tight(points, function)
    constant = lipschitz_constant(samples, values).item()
    for factor in (1.0, 1.5):
        found = kirszbraun(samples, values, factor * constant, samples)
        assert (found.values - values).abs().max() < 1e-9
        assert found.residual.max() < 1e-9


@pytest.mark.parametrize(("points", "function"), [*TIGHT[:6], ("box", "rotation"), ("box", "folds")])
def test_it_is_lipschitz_near_and_far(points, function):
    """10 000 pairs each: neighbours of samples and of other points, and points far apart."""
    samples, values = tight(points, function)
    constant = lipschitz_constant(samples, values)
    random = torch.Generator().manual_seed(2)
    base = torch.cat([somewhere(samples, 1000), samples])
    steps = torch.randn(10, *base.shape, generator=random, dtype=torch.float64)
    length = 10.0 ** -(1 + 4 * torch.rand(10, len(base), 1, generator=random, dtype=torch.float64))
    beside = base + steps / steps.norm(dim=-1, keepdim=True) * length
    found = kirszbraun(samples, values, constant, torch.cat([base, beside.flatten(0, 1)]))
    assert found.residual.max() < 1e-9
    at_base, at_side = found.values[: len(base)], found.values[len(base) :].reshape(10, len(base), -1)
    near = (at_side - at_base).norm(dim=-1) / (beside - base).norm(dim=-1)
    first, second = torch.randint(len(found.values), (2, 10_000), generator=random)
    places = torch.cat([base, beside.flatten(0, 1)])
    apart = (places[first] - places[second]).norm(dim=-1)
    far = ((found.values[first] - found.values[second]).norm(dim=-1) / apart)[apart > 1e-3]
    assert near.numel() >= 10_000
    assert near.max() <= 1.001 * constant
    assert far.max() <= 1.001 * constant


@pytest.mark.parametrize(("points", "function"), TIGHT)
def test_its_values_are_convex_combinations_of_the_data(points, function):
    samples, values = tight(points, function)
    found = kirszbraun(
        samples, values, lipschitz_constant(samples, values), somewhere(samples, 300, spread=2.0)
    )
    random = torch.Generator().manual_seed(3)
    views = torch.randn(values.shape[1], 50, generator=random, dtype=torch.float64)  # half-spaces
    assert ((found.values @ views).amax(0) <= (values @ views).amax(0) + 1e-12).all()
    assert (found.values >= values.amin(0)).all()
    assert (found.values <= values.amax(0)).all()
    if function == "law":
        torch.testing.assert_close(found.values.sum(-1), torch.ones(300).double(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("seed", range(8))
def test_against_slsqp_on_the_formula_as_written(seed):
    random = np.random.default_rng(seed)
    count, dimension, width = random.integers(2, 7), random.integers(1, 4), random.integers(1, 4)
    samples, x = random.normal(size=(count, dimension)), random.normal(size=dimension)
    values = (
        random.normal(size=(count, width)) if seed % 2 else samples @ random.normal(size=(dimension, width))
    )
    as_tensors = [torch.from_numpy(part) for part in (samples, values)]
    constant = lipschitz_constant(*as_tensors).item() * (1.0 if seed < 4 else 1.2)
    solved = scipy.optimize.minimize(
        formula,
        np.full(count, 1 / count),
        args=(samples, values, constant, x),
        method="SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    found = kirszbraun(*as_tensors, constant, torch.from_numpy(x[None]))
    assert found.values[0].numpy() == pytest.approx(solved.x @ values, abs=2e-6)


@pytest.mark.parametrize("seed", range(3))
def test_an_isometry_is_extended_by_itself(seed):
    """On the hull of a cube it is the only extension; beyond, the programme is the projection on the hull."""
    cube = torch.cartesian_prod(*[tensor([0.0, 0.5, 1.0])] * 3)
    turn = 2.5 * rotation(3, seed)
    x = torch.rand(200, 3, generator=torch.Generator().manual_seed(seed)).double() * 2 - 0.5
    found = kirszbraun(cube, cube @ turn, 2.5, x)
    torch.testing.assert_close(found.values, x.clamp(0, 1) @ turn, atol=1e-12, rtol=0)


@pytest.mark.parametrize("n", [2, 5, 12])
def test_on_a_line_tight_neighbours_leave_one_extension(n):
    knots = torch.arange(n + 1).double() / n
    queries = torch.linspace(0, 1, 97).double()
    kink = (knots - knots[n // 2]).abs()[:, None]
    found = kirszbraun(knots[:, None], kink, 1.0, queries[:, None])
    torch.testing.assert_close(found.values, piecewise_linear(knots, kink, queries), atol=1e-12, rtol=0)
    torch.testing.assert_close(found.values[:, 0], (queries - knots[n // 2]).abs(), atol=1e-12, rtol=0)


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 3), st.sampled_from([1.0, 1.3]))
def test_between_the_smallest_and_the_largest_extension(seed, count, dimension, factor):
    random = torch.Generator().manual_seed(seed)
    samples = torch.randint(-2, 3, (count, dimension), generator=random).double().unique(dim=0)
    values = torch.randint(-2, 3, (len(samples),), generator=random).double()
    constant = factor * lipschitz_constant(samples, values[:, None])
    queries = somewhere(samples, 30, spread=1.0, seed=seed)
    bounds = mcshane_whitney(samples, values, constant, queries)
    found = kirszbraun(samples, values[:, None], constant, queries).values[:, 0]
    assert (found >= bounds.lower - 1e-9).all()
    assert (found <= bounds.upper + 1e-9).all()


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 3), st.integers(1, 3))
def test_moving_turning_and_scaling_change_nothing_else(seed, count, dimension, width):
    random = torch.Generator().manual_seed(seed)
    samples = torch.randint(-2, 3, (count, dimension), generator=random).double().unique(dim=0)
    values = torch.randn(len(samples), width, generator=random, dtype=torch.float64)
    queries = somewhere(samples, 20, seed=seed)
    constant = lipschitz_constant(samples, values)
    found = kirszbraun(samples, values, constant, queries).values
    turn, spin = rotation(dimension, seed), rotation(width, seed)
    order = torch.randperm(len(samples), generator=random)
    moved = kirszbraun(
        (7 * samples @ turn - 3)[order],
        (0.2 * values @ spin + 1)[order],
        constant * 0.2 / 7,
        7 * queries @ turn - 3,
    )
    torch.testing.assert_close(moved.values, 0.2 * found @ spin + 1, atol=1e-8, rtol=0)
    padded = torch.nn.functional.pad(samples, (0, 2)), torch.nn.functional.pad(queries, (0, 2))
    flat = kirszbraun(padded[0], values, constant, padded[1]).values
    torch.testing.assert_close(flat, found, atol=1e-9, rtol=0)


def test_one_sample_constants_and_duplicates():
    queries = torch.randn(20, 3, dtype=torch.float64)
    one = kirszbraun(torch.zeros(1, 3), tensor([[0.2, 0.8]]), 0.0, queries)
    assert (one.values == tensor([0.2, 0.8])).all()
    samples = torch.randn(9, 3, dtype=torch.float64)
    constant = kirszbraun(samples, tensor([[0.2, 0.8]]).expand(9, 2), 0.0, queries)
    assert (constant.values == tensor([0.2, 0.8])).all()  # weights sum to 1 but for rounding
    once = kirszbraun(samples, samples[:, :2], 1.0, queries)
    thrice = kirszbraun(samples.repeat(3, 1), samples[:, :2].repeat(3, 1), 1.0, queries)
    torch.testing.assert_close(thrice.values, once.values, atol=1e-12, rtol=0)
    nowhere = kirszbraun(samples, samples, 1.0, queries[:0])
    assert (nowhere.values.shape, nowhere.residual.shape) == ((0, 3), (0,))


def test_samples_on_a_line_in_space():
    line = torch.arange(-10, 11).double() / 10
    direction = tensor([0.6, 0.0, 0.8])
    x = somewhere(line[:, None] * direction, 100)
    found = kirszbraun(line[:, None] * direction, line.abs()[:, None], 1.0, x)
    expected = (x @ direction).clamp(-1, 1).abs()[:, None]  # only the place along the line counts
    torch.testing.assert_close(found.values, expected, atol=1e-12, rtol=0)


def test_far_off_only_the_place_along_the_samples_counts():
    line = torch.arange(-10, 11).double()[:, None] / 10 * tensor([1.0, 0.0])
    x = torch.stack([torch.rand(50).double() * 2 - 1, torch.full((50,), 1e6).double()], -1)
    found = kirszbraun(line, line[:, :1], 1.0, x)
    assert (found.values[:, 0] - x[:, 0]).abs().max() < 1e-8


def test_samples_closer_than_the_root_of_rounding():
    samples = torch.cat([POINTS["box"], POINTS["box"] + 1e-9])
    values = samples @ rotation(4)
    found = kirszbraun(samples, values, lipschitz_constant(samples, values), samples)
    assert (found.values - values).abs().max() < 1e-15


def test_functions_at_once_are_functions_one_by_one(monkeypatch):
    samples = POINTS["lattice"]
    values = torch.stack([FUNCTIONS[name](samples) for name in ("rotation", "folds")] * 2)
    values = values.reshape(2, 2, len(samples), 4)
    constants = lipschitz_constant(samples, values) * tensor([[1.0, 1.0], [1.5, 2.0]])
    x = somewhere(samples, 50)
    together = kirszbraun(samples, values, constants, x)
    assert together.values.shape == (2, 2, 50, 4)
    assert together.residual.shape == together.iterations.shape == (2, 2, 50)
    for index in itertools.product(range(2), repeat=2):
        alone = kirszbraun(samples, values[index], constants[index].item(), x)
        torch.testing.assert_close(together.values[index], alone.values, atol=1e-12, rtol=0)
    monkeypatch.setattr(module, "AT_ONCE", 500)
    in_turn = extend(lift(samples, values, constants), x)
    torch.testing.assert_close(in_turn.values, together.values, atol=1e-12, rtol=0)


def test_float32_is_computed_in_float64_and_nothing_is_changed():
    arguments = [POINTS["box"].float(), POINTS["box"].float() * 2, torch.rand(5, 4)]
    before = [part.clone() for part in arguments]
    samples, values, queries = arguments
    found = kirszbraun(samples, values, 2.0, queries)
    assert found.values.dtype == torch.float64
    assert all(torch.equal(old, new) for old, new in zip(before, arguments, strict=True))


def test_a_constant_too_small_by_rounding_is_put_right():
    samples, values = tight("box", "rotation")
    found = kirszbraun(samples, values, 1 - 9e-10, torch.cat([samples, samples + 1e-7]))
    assert found.residual.max() < 1e-12
    assert (found.values[:60] - values).abs().max() < 1e-12
    expected = kirszbraun(samples, values, 1.0, samples + 1e-7).values
    torch.testing.assert_close(found.values[60:], expected, atol=1e-12, rtol=0)


def test_too_small_a_constant_is_refused_and_named():
    samples, values = tensor([[0.0], [1.0], [3.0]]), tensor([[0.0], [0.5], [3.5]])
    for refuse in (
        lambda constant: kirszbraun(samples, values, constant, samples),
        lambda constant: mcshane_whitney(samples, values[:, 0], constant, samples),
    ):
        refuse(1.5)
        refuse(1.5 * (1 - 1e-12))  # rounding
        with pytest.raises(ConstantTooSmallError, match=r"M = 1\.4 .*constant 1\.5.*samples 1 and 2\b"):
            refuse(1.4)
    with pytest.raises(ConstantTooSmallError, match=r"constant inf.*samples 0 and 1\b"):
        kirszbraun(torch.zeros(2, 1), tensor([[0.0], [1.0]]), 9.0, samples)
    both = torch.stack([values / 2, values])
    with pytest.raises(ConstantTooSmallError, match=r"M = 1 .*constant 1\.5.*function 1"):
        kirszbraun(samples, both, tensor([1.0, 1.0]), samples)
    assert issubclass(ConstantTooSmallError, ValueError)


@pytest.mark.parametrize("broken", range(4))
def test_what_is_no_number_is_refused(broken):
    arguments = [torch.rand(3, 2), torch.rand(3, 1), torch.tensor(9.0), torch.rand(4, 2)]
    arguments[broken] = arguments[broken] * torch.nan
    with pytest.raises(ExtensionError, match="NaN"):
        kirszbraun(*arguments)
    with pytest.raises(ExtensionError, match="M = -1 is negative"):
        kirszbraun(torch.rand(3, 2), torch.zeros(3, 1), -1.0, torch.rand(4, 2))


def test_what_is_not_solved_is_not_returned(monkeypatch):
    samples, values = tight("box", "rotation")
    monkeypatch.setattr(module, "simplex_qp", functools.partial(module.simplex_qp, limit=2))
    with pytest.raises(NotSolvedError, match="residual"):
        kirszbraun(samples, values, 1.0, somewhere(samples, 50))


def test_the_residual_is_that_of_the_formula_in_its_own_units(monkeypatch):
    samples, values = 30 * POINTS["box"], POINTS["box"] @ rotation(4)
    x, kept = somewhere(samples, 20), []

    def stopped(*args, **options):
        kept.append(simplex_qp(*args, **options, limit=2))
        return kept[-1]

    monkeypatch.setattr(module, "simplex_qp", stopped)
    monkeypatch.setattr(module, "TOLERANCE", torch.inf)
    found = kirszbraun(samples, values, 0.05, x)
    assert found.residual.max() > 1
    for row, weights in enumerate(kept[0].weights):
        free = weights.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(formula(free, samples, values, 0.05, x[row]), free)
        residual = gradient[weights > 0].max() - gradient.min()
        assert found.residual[row].item() == pytest.approx(residual.item(), rel=1e-9, abs=1e-9)


def test_lipschitz_constants(monkeypatch):
    samples, values = torch.rand(23, 3).double(), torch.rand(4, 23, 2).double()
    pairs = list(itertools.combinations(range(23), 2))
    steepness = tensor(
        [[((f[i] - f[j]).norm() / (samples[i] - samples[j]).norm()).item() for i, j in pairs] for f in values]
    )
    for size in (module.AT_ONCE, 100):
        monkeypatch.setattr(module, "AT_ONCE", size)
        found = steepest_pair(samples, values)
        torch.testing.assert_close(found.constant, steepness.amax(-1), atol=0, rtol=1e-14)
        for pair, row in zip(found.pair.tolist(), steepness, strict=True):
            assert tuple(sorted(pair)) == pairs[int(row.argmax())]
    assert lipschitz_constant(samples[:1], values[0, :1]) == 0
    assert lipschitz_constant(torch.zeros(2, 1), torch.ones(2, 1)) == 0
    assert lipschitz_constant(torch.zeros(2, 1), tensor([[0.0], [1.0]])) == torch.inf
    far_off = samples + 1e6  # the differences survive, where squares of the places would not
    assert lipschitz_constant(far_off, far_off) == pytest.approx(1, abs=1e-14)


def test_mcshane_whitney_by_hand():
    found = mcshane_whitney(tensor([[0.0], [1.0]]), tensor([0.0, 1.0]), 3.0, tensor([[0.0], [0.5], [3.0]]))
    assert found.lower.tolist() == pytest.approx([0.0, -0.5, -5.0])
    assert found.upper.tolist() == pytest.approx([0.0, 1.5, 7.0])
    assert found.midpoint.tolist() == pytest.approx([0.0, 0.5, 1.0])
    lopsided = mcshane_whitney(tensor([[0.0], [1.0]]), tensor([0.0, 1.0]), 1.0, tensor([[9.0], [0.25]]))
    assert lopsided.midpoint.tolist() == pytest.approx([1.0, 0.25])


@pytest.mark.parametrize(("points", "function"), [(p, f) for p, f in TIGHT if f in ("fold", "cone")])
def test_mcshane_whitney_interpolates_is_lipschitz_and_stays_in_range(points, function):
    samples, values = tight(points, function)
    values = torch.stack([values[:, 0], 1 - values[:, 0]])  # two functions at once
    constants = lipschitz_constant(samples, values[..., None])
    for field in mcshane_whitney(samples, values, constants, samples):
        torch.testing.assert_close(field, values, atol=1e-12, rtol=0)
    x = somewhere(samples, 400, spread=1.0)
    found = mcshane_whitney(samples, values, constants, x)
    assert (found.lower <= found.upper + 1e-12).all()
    for field in found:
        assert (lipschitz_constant(x, field[..., None]) <= constants * (1 + 1e-9)).all()
    assert (found.midpoint >= values.amin(-1, keepdim=True)).all()
    assert (found.midpoint <= values.amax(-1, keepdim=True)).all()


def test_piecewise_linear_by_hand():
    knots, values = tensor([0.0, 0.5, 2.0]), tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.4]])
    found = piecewise_linear(knots, values, tensor([[-1.0, 0.25], [0.5, 1.25], [2.0, 9.0]]))
    expected = [[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.3, 0.7]], [[0.6, 0.4], [0.6, 0.4]]]
    torch.testing.assert_close(found, tensor(expected), atol=1e-15, rtol=0)
    assert piecewise_linear(tensor([0.3]), tensor([[4.0, 5.0]]), torch.zeros(3)).tolist() == [[4.0, 5.0]] * 3
    assert piecewise_linear(tensor([0.0, 1.0]), tensor([0.0, 3.0]), tensor([0.5])).tolist() == [1.5]
    for knots in (tensor([0.0, 0.0]), tensor([1.0, 0.0])):
        with pytest.raises(ExtensionError, match="knots must increase: knot 1"):
            piecewise_linear(knots, tensor([0.0, 1.0]), tensor([0.5]))


@given(st.integers(0, 10**6), st.integers(1, 12), st.booleans())
def test_piecewise_linear_keeps_constant_monotonicity_and_range(seed, n, monotone):
    random = torch.Generator().manual_seed(seed)
    knots = torch.arange(n + 1).double() / n
    values = torch.rand(n + 1, 3, generator=random, dtype=torch.float64)
    values = values.sort(dim=0).values if monotone else values
    queries = torch.cat([torch.rand(60, generator=random).double() * 1.4 - 0.2, knots]).sort().values.unique()
    found = piecewise_linear(knots, values, queries)
    steepest = lipschitz_constant(queries[:, None], found)
    assert steepest <= lipschitz_constant(knots[:, None], values) * (1 + 1e-9)
    assert (found >= values.amin(0)).all()
    assert (found <= values.amax(0)).all()
    torch.testing.assert_close(piecewise_linear(knots, values, knots), values, atol=0, rtol=0)
    if monotone:
        assert (found.diff(dim=0) >= 0).all()


def test_coordinates_that_do_not_matter_leak_unless_left_out():
    samples = lattice(6, 4)
    values = (samples[:, :1] - 0.3).abs()
    x = tensor([[0.25, 0.75, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])  # alike in the first coordinate
    full = kirszbraun(samples, values, lipschitz_constant(samples, values), x).values
    assert (full[0] - full[1]).abs() > 1e-2
    reduced = on_coordinates(samples, values, [0])
    assert sorted(reduced.points[:, 0].tolist()) == pytest.approx([k / 6 for k in range(7)])
    constant = lipschitz_constant(reduced.points, reduced.values)
    assert constant >= lipschitz_constant(samples, values)
    own = kirszbraun(reduced.points, reduced.values, constant, x[:, [0]]).values
    assert torch.equal(own[0], own[1])
    at_samples = kirszbraun(reduced.points, reduced.values, constant, samples[:, [0]]).values
    torch.testing.assert_close(at_samples, values, atol=1e-12, rtol=0)


def test_samples_of_a_marginal_are_merged_although_sums_round():
    samples = lattice(10, 4)
    pairs = torch.stack([samples[:, 0] + samples[:, 3], samples[:, 2] + samples[:, 1]], -1)
    assert len(pairs.unique(dim=0)) > 11  # 0.1 + 0.2 and 0.3
    values = torch.stack([pairs, pairs**2])  # two functions at once
    reduced = on_coordinates(pairs, values, [0, 1])
    assert reduced.points.shape == (11, 2)
    assert reduced.values.shape == (2, 11, 2)
    torch.testing.assert_close(reduced.values[1], reduced.points**2)
    with pytest.raises(NotAFunctionError, match=r"samples \d+ and \d+ agree .* depends on other coordinates"):
        on_coordinates(samples, samples[:, 1:2], [0])
