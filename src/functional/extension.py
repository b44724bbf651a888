"""Lipschitz extensions: from finitely many samples to everywhere, without growing the constant.

Samples are points z_i in R^d with values G_i in R^k, |G_i - G_j| <= M |z_i - z_j|; norms are Euclidean
throughout. Here the z_i are the distributions of a lattice, mu with n mu integer, and G what the symmetrised
kernel or reward is worth at them (Yardim & He 2025, Def. 3-5).

A kappa-sparse function depends on kappa coordinates of mu only. Extended over the whole simplex it would
not: the extension sees how far two populations are, hence also coordinates that do not matter. Extend it in
its own coordinates, ``on_coordinates``; one coordinate needs no quadratic programme: ``piecewise_linear``.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .simplex_qp import simplex_qp

ROUNDING = 1e-9  # relative: by this much M may miss the samples' own constant, and merged samples each other
TOLERANCE = 1e-9  # relative: a KKT residual beyond it is no solution
AT_ONCE = 2**22  # numbers of a temporary tensor, 32 MiB: more functions or queries go in turn
EXACT = "donot_use_mm_for_euclid_dist"  # |a - b| from a - b: the Gram form loses half the digits


class ExtensionError(ValueError):
    """Samples that no extension can be made of."""


class ConstantTooSmallError(ExtensionError):
    """M below the samples' own Lipschitz constant."""


class NotAFunctionError(ExtensionError):
    """One point with two values."""


class NotSolvedError(ArithmeticError):
    """A quadratic programme whose optimum rounding keeps out of reach."""


class SteepestPair(NamedTuple):
    """The Lipschitz constant of samples and the pair that has it.

    Attributes:
        constant: max |G_i - G_j| / |z_i - z_j|, [...] float64; infinite if one point has two values.
        pair: i and j, [..., 2] int64.
    """

    constant: Tensor
    pair: Tensor


class Lifted(NamedTuple):
    """Samples whose constant has been looked at, centred and scaled to radius 1; values divided by M.

    Attributes:
        centre: [d] float64.
        radius: a scalar.
        places: (z_i - centre) / radius, [m, d].
        heights: (G_i - mean) / (M radius), [..., m, k]: no farther apart than the places.
        values: G, [..., m, k].
    """

    centre: Tensor
    radius: Tensor
    places: Tensor
    heights: Tensor
    values: Tensor


class Extension(NamedTuple):
    """An extension at Q queries.

    Attributes:
        values: [..., Q, k] float64; convex combinations of the samples' values.
        residual: of the conditions of Karush, Kuhn and Tucker, [..., Q], in units of |z|^2, computed anew
            from the formula; see ``kirszbraun``.
        iterations: faces solved, [..., Q] int64.
    """

    values: Tensor
    residual: Tensor
    iterations: Tensor


class ScalarExtension(NamedTuple):
    """The smallest and the largest extension at Q queries, and one between.

    Attributes:
        lower: [..., Q] float64; may leave the range of the samples.
        upper: [..., Q].
        midpoint: of both, [..., Q]: M-Lipschitz as well, and within the range of the samples; clipped to
            it, against rounding.
    """

    lower: Tensor
    upper: Tensor
    midpoint: Tensor


class Samples(NamedTuple):
    """Points [m, d] and their values [..., m, k], float64."""

    points: Tensor
    values: Tensor


def steepest_pair(samples: Tensor, values: Tensor) -> SteepestPair:
    """Which pair of samples has the largest |G_i - G_j| / |z_i - z_j|, over all pairs.

    Args:
        samples: z, [m, d].
        values: G, [..., m, k]: any number of functions on the same samples.
    """
    points, flat = samples.double(), _functions(values)  # [F, m, k]
    count, functions = len(points), torch.arange(len(flat), device=flat.device)
    constant = flat.new_full((len(flat),), -1.0)
    pair = torch.zeros(len(flat), 2, dtype=torch.int64, device=flat.device)
    for rows in _in_turn(count, count * len(flat)):
        far = torch.cdist(points[rows], points, compute_mode=EXACT)  # [r, m]
        apart = torch.cdist(flat[:, rows], flat, compute_mode=EXACT)  # [F, r, m]
        steepness = torch.where(apart > 0, apart / far, 0.0).flatten(1)
        where = steepness.argmax(-1)
        found = torch.stack([rows.start + where // count, where % count], -1)
        most = steepness[functions, where]
        pair = torch.where((most > constant)[:, None], found, pair)
        constant = torch.maximum(constant, most)
    batch = values.shape[:-2]
    return SteepestPair(constant.reshape(batch), pair.reshape(*batch, 2))


def lipschitz_constant(samples: Tensor, values: Tensor) -> Tensor:
    """max over pairs of |G_i - G_j| / |z_i - z_j|: z [m, d], G [..., m, k] -> [...] float64.

    0 for a single sample; infinite if one point has two values.
    """
    return steepest_pair(samples, values).constant


def kirszbraun(samples: Tensor, values: Tensor, lipschitz: float | Tensor, queries: Tensor) -> Extension:
    """Extend a vector-valued M-Lipschitz function from samples to all of R^d, with the same M.

    G~(x) = sum_i lam_i G_i,  lam = argmin over the m-simplex of
        sum_i lam_i |z_i - x|^2 + |sum_i lam_i z_i - x|^2 - (sum_i lam_i |G_i|^2 - |sum_i lam_i G_i|^2) / M^2,
    a convex quadratic programme whose gradient is, but for a constant,
        |z_i - (2 x - z-bar)|^2 - |G_i - G-bar|^2 / M^2.
    It follows from G~(x) = grad_y conv(g)(x, 0) of D. Azagra, E. Le Gruyer, C. Mudarra, "Kirszbraun's theorem
    via an explicit formula", Canad. Math. Bull. 64 (2021); that an extension exists is M. D. Kirszbraun,
    Fund. Math. 22 (1934). It interpolates the samples, and being a convex combination of the data it
    keeps probabilities in the simplex and rewards in their range without a projection. lam need not be
    unique, G~ is.

    Looking for the samples' own constant takes O(m^2), each programme O(m) a face. Who asks more than once
    calls ``lift`` once and ``extend`` for every set of queries.

    Args:
        samples: z, [m, d]; duplicates and samples in a lower-dimensional plane are fine.
        values: G, [..., m, k]: any number of functions on the same samples.
        lipschitz: M, one number or one a function [...]; M = Lip exactly is fine.
        queries: x, [Q, d], anywhere in R^d.

    Returns:
        Extension. Its residual is the largest gradient entry among lam_i > 0 minus the smallest of all.

    Raises:
        ConstantTooSmallError: M is below the samples' own constant; it names both, and the pair.
        ExtensionError: a NaN or infinite number.
        NotSolvedError: a residual beyond 1e-9 of the gradient's terms.
    """
    return extend(lift(samples, values, lipschitz), queries)


def lift(samples: Tensor, values: Tensor, lipschitz: float | Tensor) -> Lifted:
    """What ``extend`` needs of samples: arguments and errors as for ``kirszbraun``."""
    constant = _at_least_steepest(samples, values, lipschitz)  # [...]
    points, heights = samples.double(), values.double()
    centre = points.mean(0)
    radius = (points - centre).norm(dim=-1).max()
    radius = torch.where(radius > 0, radius, 1.0)
    unit = (constant * radius)[..., None, None]
    lifted = torch.where(unit > 0, (heights - heights.mean(-2, keepdim=True)) / unit, 0.0)
    return Lifted(centre, radius, (points - centre) / radius, lifted, heights)


def extend(lifted: Lifted, queries: Tensor) -> Extension:
    """The extension of ``kirszbraun`` at queries [Q, d], from samples lifted before."""
    assert queries.dim() == 2, queries.shape
    assert queries.shape[-1] == lifted.places.shape[-1], (queries.shape, lifted.places.shape)
    _require_finite(queries, "queries")
    asked = (queries.double() - lifted.centre) / lifted.radius
    heights, values = _functions(lifted.heights), _functions(lifted.values)
    functions, count, width = values.shape
    room = functions, len(asked)
    found = Extension(values.new_empty(*room, width), values.new_empty(room), values.new_empty(room).long())
    for some in _in_turn(functions, len(asked) * count * (asked.shape[1] + width)):
        for rows in _in_turn(len(asked), count * max(len(heights[some]), asked.shape[1])):
            piece = _extend(lifted.places, heights[some], values[some], asked[rows])
            for whole, part in zip(found, piece, strict=True):
                whole[some, rows] = part
    found = found._replace(residual=found.residual * lifted.radius**2)
    return Extension(*(field.reshape(*lifted.values.shape[:-2], *field.shape[1:]) for field in found))


def _extend(places: Tensor, heights: Tensor, values: Tensor, asked: Tensor) -> Extension:
    """F functions at Q scaled queries: one programme for each pair.

    Its vertices are (z_i, G_i / M), its target (x, g / M), its costs |z_i - x|^2 - |G_i - g|^2 / M^2. Any g
    will do, and any constant may be taken from the costs: with those of the nearest sample z_n they
    vanish there, and rounding with them; |z_i - x|^2 - |z_n - x|^2 = <z_i - z_n, z_i + z_n - 2 x> keeps
    its digits however far x is.

    Args:
        places: [m, d].
        heights, values: [F, m, k].
        asked: [Q, d].
    """
    functions, queries = len(values), len(asked)
    near = torch.cdist(asked, places, compute_mode=EXACT).argmin(-1)  # [Q]
    nearest, around = places[near, None], heights[:, near]  # [Q, 1, d], [F, Q, k]
    farther = ((places - nearest) * (places + nearest - 2 * asked[:, None])).sum(-1)  # [Q, m]
    costs = farther - torch.cdist(around, heights, compute_mode=EXACT) ** 2  # [F, Q, m]
    targets = torch.cat([asked.expand(functions, -1, -1), around], -1)  # [F, Q, d + k]
    points = torch.cat([places.expand(functions, -1, -1), heights], -1)  # [F, m, d + k]
    solution = simplex_qp(
        points[0] if functions == 1 else points.repeat_interleave(queries, 0),
        targets.flatten(0, 1),
        costs.flatten(0, 1),
        start=near.repeat(functions),
    )
    weights = solution.weights.reshape(costs.shape)
    residual = _kkt_residual(places, heights, weights, asked)
    combined = (weights @ values).clamp(values.amin(1, keepdim=True), values.amax(1, keepdim=True))
    return Extension(combined, residual, solution.iterations.reshape(residual.shape))


def _kkt_residual(places: Tensor, heights: Tensor, weights: Tensor, asked: Tensor) -> Tensor:
    """Of weights [F, Q, m] at scaled queries [Q, d], by the gradient of the formula; [F, Q].

    Raises:
        NotSolvedError: it is more than rounding.
    """
    away = torch.cdist(2 * asked - weights @ places, places, compute_mode=EXACT) ** 2  # [F, Q, m]
    gradient = away - torch.cdist(weights @ heights, heights, compute_mode=EXACT) ** 2
    residual = gradient.masked_fill(weights <= 0, -torch.inf).amax(-1) - gradient.amin(-1)
    relative = (residual / away.amax(-1).clamp(min=1)).max()
    if relative > TOLERANCE:
        raise NotSolvedError(f"a programme of the extension was left with a residual of {relative:.1e}")
    return residual


def mcshane_whitney(
    samples: Tensor, values: Tensor, lipschitz: float | Tensor, queries: Tensor
) -> ScalarExtension:
    """Extend a real-valued M-Lipschitz function from samples to all of R^d, with the same M.

    upper(x) = min_i (f_i + M |x - z_i|),  lower(x) = max_i (f_i - M |x - z_i|):
    the largest and the smallest of all extensions (E. J. McShane, Bull. Amer. Math. Soc. 40 (1934);
    H. Whitney, Trans. Amer. Math. Soc. 36 (1934)). Components of a vector extended one by one are each
    M-Lipschitz but together only sqrt(k) M, and probabilities leave the simplex: see ``kirszbraun``.

    Args:
        samples: z, [m, d].
        values: f, [..., m].
        lipschitz: M, one number or one a function [...].
        queries: x, [Q, d].

    Raises:
        ConstantTooSmallError, ExtensionError: as for ``kirszbraun``.
    """
    assert queries.shape[-1] == samples.shape[-1], (queries.shape, samples.shape)
    _require_finite(queries, "queries")
    constant = _at_least_steepest(samples, values[..., None], lipschitz)[..., None]  # [..., 1]
    points, heights, asked = samples.double(), values.double(), queries.double()
    lower = heights.new_empty(*heights.shape[:-1], len(asked))
    upper = torch.empty_like(lower)
    for rows in _in_turn(len(asked), heights.numel()):
        reach = constant[..., None] * torch.cdist(asked[rows], points, compute_mode=EXACT)  # [..., q, m]
        lower[..., rows] = (heights[..., None, :] - reach).amax(-1)
        upper[..., rows] = (heights[..., None, :] + reach).amin(-1)
    least, most = heights.amin(-1, keepdim=True), heights.amax(-1, keepdim=True)
    return ScalarExtension(lower, upper, ((lower + upper) / 2).clamp(least, most))


def piecewise_linear(knots: Tensor, values: Tensor, queries: Tensor) -> Tensor:
    """Interpolate between neighbouring knots on a line: for functions of one coordinate of the population.

    f(x) = (1 - t) f_i + t f_{i+1},  t = (x - z_i) / (z_{i+1} - z_i),  constant beyond the ends.

    It keeps the Lipschitz constant in any norm of the values, monotonicity, range, and convex
    sets of values such as the simplex.

    Args:
        knots: z, [m], increasing, such as k/n.
        values: [m, ...]: any number of components.
        queries: x, of any shape.

    Returns:
        [*queries.shape, ...] float64.

    Raises:
        ExtensionError: the knots do not increase, or a number is NaN or infinite.
    """
    assert len(knots) == len(values), (knots.shape, values.shape)
    for name, numbers in {"knots": knots, "values": values, "queries": queries}.items():
        _require_finite(numbers, name)
    knots, values, asked = knots.double(), values.double(), queries.double()
    if bool((knots.diff() <= 0).any()):
        where = int((knots.diff() <= 0).nonzero()[0])
        raise ExtensionError(
            f"knots must increase: knot {where + 1} is {knots[where + 1]:.6g} after {knots[where]:.6g}"
        )
    if len(knots) == 1:
        return values.expand(*asked.shape, *values.shape[1:]).clone()
    right = torch.searchsorted(knots, asked.contiguous(), right=True).clamp(1, len(knots) - 1)
    share = ((asked - knots[right - 1]) / (knots[right] - knots[right - 1])).clamp(0, 1)
    share = share.reshape(*asked.shape, *[1] * (values.dim() - 1))
    before, after = values[right - 1], values[right]
    between = (1 - share) * before + share * after
    return between.clamp(torch.minimum(before, after), torch.maximum(before, after))


def on_coordinates(samples: Tensor, values: Tensor, coordinates: Tensor | list[int]) -> Samples:
    """Samples of a function that depends on some coordinates only, in these coordinates.

    Samples that agree there become one. Extend what is returned and query it at ``x[:, coordinates]``;
    its Lipschitz constant is that of the reduced samples, which on the simplex may be larger than that of
    the full ones: moving mass into a coordinate moves it out of others.

    Args:
        samples: z, [m, d].
        values: G, [..., m, k].
        coordinates: which of the d, [kappa] int64. For another linear image, such as the marginal on the
            states, apply it first and take all of its coordinates.

    Returns:
        Samples with m' <= m points of kappa coordinates, in the order of their first appearance.

    Raises:
        NotAFunctionError: two samples agree in the coordinates, not in their values, beyond rounding.
    """
    _require_finite(samples, "samples")
    _require_finite(values, "values")
    points, heights = samples.double()[:, coordinates], values.double()
    within = ROUNDING * (points - points.mean(0)).norm(dim=-1).max()
    turns = _in_turn(len(points), len(points))
    close = (torch.cdist(points[rows], points, compute_mode=EXACT) <= within for rows in turns)
    first = torch.cat([block.int().argmax(-1) for block in close])  # [m]
    apart = (_functions(heights) - _functions(heights)[:, first]).norm(dim=-1).amax(0)  # [m]
    worst = int(apart.argmax())
    if apart[worst] > ROUNDING * (1 + heights.abs().max()):
        raise NotAFunctionError(
            f"samples {int(first[worst])} and {worst} agree in the coordinates kept but differ by "
            f"{apart[worst]:.3g} in value: the function depends on other coordinates too"
        )
    kept = first == torch.arange(len(first), device=first.device)
    return Samples(points[kept], heights[..., kept, :])


def _at_least_steepest(samples: Tensor, values: Tensor, lipschitz: float | Tensor) -> Tensor:
    """M [...], raised to the samples' own constant where it misses that by rounding, refused if by more."""
    assert samples.dim() == 2, samples.shape
    assert values.shape[-2] == len(samples) > 0, (samples.shape, values.shape)
    _require_finite(samples, "samples")
    _require_finite(values, "values")
    steepest = steepest_pair(samples, values)
    given = torch.as_tensor(lipschitz, dtype=torch.float64, device=steepest.constant.device)
    given = given.expand_as(steepest.constant)
    _require_finite(given, "M")
    if bool((given < 0).any()):
        raise ExtensionError(f"M = {given.min():.6g} is negative: a Lipschitz constant is not")
    missed = given < steepest.constant * (1 - ROUNDING)
    if bool(missed.any()):
        worst = int((missed * (steepest.constant - given)).argmax())
        first, second = steepest.pair.reshape(-1, 2)[worst].tolist()
        where = f" (function {worst})" if missed.numel() > 1 else ""
        raise ConstantTooSmallError(
            f"M = {given.flatten()[worst]:.6g} is below the samples' own Lipschitz constant "
            f"{steepest.constant.flatten()[worst]:.6g}, that of samples {first} and {second}{where}: "
            f"no function through them is that flat"
        )
    return torch.maximum(given, steepest.constant)


def _functions(values: Tensor) -> Tensor:
    """[..., m, k] -> [F, m, k] float64."""
    return values.double().reshape(-1, *values.shape[-2:])


def _require_finite(numbers: Tensor, name: str) -> None:
    if not bool(numbers.isfinite().all()):
        raise ExtensionError(f"{name} holds NaN or infinite numbers: nothing can be extended")


def _in_turn(count: int, numbers: int) -> list[slice]:
    """Slices of ``count`` items of so many ``numbers`` each, a temporary tensor's worth at a time."""
    size = max(1, AT_ONCE // max(1, numbers))
    return [slice(begin, begin + size) for begin in range(0, count, size)]
