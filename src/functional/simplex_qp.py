"""The nearest point of a convex hull when its vertices have prices: a quadratic programme over the simplex.

    minimise over lam in the m-simplex   | sum_i lam_i w_i - t |^2 + sum_i lam_i c_i

for many (t, c) at once. The Hessian 2 W W^T has the rank of the vertices only, m may be much more; so the
weights move within faces whose vertices are affinely independent, as in P. Wolfe, "Finding the nearest point
in a polytope", Mathematical Programming 11 (1976), who has c = 0. Every face is solved by an orthogonal
factorisation of its edges, not of their Gram matrix, whose condition number is the square.

From the optimum of a face, the vertex j with the steepest descent enters along d = e_j - a, where
sum_i a_i w_i is the point of the face's affine hull that is nearest to w_j, at a distance eps. This direction
is conjugate to the face, its slope is minus the gap of j and its curvature 2 eps^2: t* = gap / (2 eps^2)
is the optimum of the larger face. If a weight reaches zero before, its vertex leaves; it must, because
sum a = 1, when eps^2 <= gap / 2. Hence a vertex in the affine hull of the face always takes another one's
place, faces stay affinely independent, and ties, duplicates and flat sets of vertices are no special case.

The objective falls strictly from one face's optimum to the next and there are finitely many faces. What
rounding makes of that is bounded by a limit on the iterations: whoever reaches it keeps the best optimum
seen, and the residual, which is that of the weights returned, tells.
"""

from typing import NamedTuple

import torch
from torch import Tensor

ROUNDING = 32 * torch.finfo(torch.float64).eps  # of the terms of a gradient: less than this is no descent
NO_WEIGHT = 1e-15  # a weight that is zero but for rounding
LEAST_LIMIT, LIMIT_PER_VERTEX = 100, 20
# Of a step: of the vertices that would leave as early, the one with the largest share in the entering vertex
# does, for it leaves the best conditioned face; chosen by rounding, a problem was seen to run into the limit.
TIE = 1e-9


class SimplexSolution(NamedTuple):
    """Optimal weights, problem by problem.

    Attributes:
        weights: lam, [Q, m] float64; non-negative, they sum to 1.
        support: the vertices that carry them, [Q, P] int64, P = min(m, D + 1); -1 where there are fewer.
        residual: by how much the conditions of Karush, Kuhn and Tucker are missed, [Q]: the largest gradient
            entry of the support minus the smallest of all, in units of the objective. It bounds what
            is missing to the minimum.
        iterations: faces solved, [Q] int64.
    """

    weights: Tensor
    support: Tensor
    residual: Tensor
    iterations: Tensor


class _Problems(NamedTuple):
    """Vertices [m, D], or [Q, m, D] if every problem has its own; targets [Q, D]; costs [Q, m]."""

    points: Tensor
    targets: Tensor
    costs: Tensor

    def rows(self, keep: Tensor) -> "_Problems":
        """Some of the problems."""
        points = self.points if self.points.dim() == 2 else self.points[keep]
        return _Problems(points, self.targets[keep], self.costs[keep])

    def vertices(self, index: Tensor) -> Tensor:
        """w of the vertices [Q, K] int64 -> [Q, K, D]."""
        if self.points.dim() == 2:
            return self.points[index]
        return self.points.gather(1, index[..., None].expand(*index.shape, self.points.shape[-1]))

    def products(self, directions: Tensor) -> Tensor:
        """<w_i, v>: directions [Q, D] -> [Q, m]."""
        if self.points.dim() == 2:
            return directions @ self.points.T
        return (self.points @ directions[..., None]).squeeze(-1)


class _Support(NamedTuple):
    """Vertices [Q, P] and their weights [Q, P]; the first ``size`` [Q] slots count, the others are 0."""

    vertices: Tensor
    weights: Tensor
    size: Tensor

    @property
    def filled(self) -> Tensor:
        """Which slots count, [Q, P]."""
        return _positions(self.vertices) < self.size[:, None]

    def without(self, slot: Tensor, leaving: Tensor) -> "_Support":
        """``slot`` [Q] given up where ``leaving`` [Q]; the others close ranks, and weights sum to 1 again."""
        position = _positions(self.vertices)
        moved = leaving[:, None] & (position >= slot[:, None])
        source = (position + moved.long()).clamp(max=len(position) - 1)  # [Q, P]
        size = self.size - leaving.long()
        kept = position < size[:, None]
        vertices = torch.where(kept, self.vertices.gather(1, source), 0)
        weights = torch.where(kept, self.weights.gather(1, source), 0.0)
        return _Support(vertices, weights / weights.sum(-1, keepdim=True), size)


class _Face(NamedTuple):
    """The affine hull of a support: base w_0 + span of the edges w_i - w_0 = sum_k directions_k triangle_ki.

    Attributes:
        base: [Q, D].
        directions: orthonormal columns, [Q, D, K]; zero beyond the support, K = largest size - 1.
        triangle: upper triangular, [Q, K, K]; the identity beyond the support.
    """

    base: Tensor
    directions: Tensor
    triangle: Tensor

    def along(self, vectors: Tensor) -> Tensor:
        """Components along the directions, [Q, D] -> [Q, K]."""
        return torch.einsum("qdk,qd->qk", self.directions, vectors)

    def barycentric(self, components: Tensor) -> Tensor:
        """Coordinates, summing to 1, of base + directions @ components: [Q, K] -> [Q, K + 1]."""
        edges = torch.linalg.solve_triangular(self.triangle, components[..., None], upper=True).squeeze(-1)
        return torch.cat([1 - edges.sum(-1, keepdim=True), edges], -1)


def simplex_qp(
    points: Tensor, targets: Tensor, costs: Tensor, *, start: Tensor | None = None, limit: int | None = None
) -> SimplexSolution:
    """Minimise |sum_i lam_i w_i - t|^2 + sum_i lam_i c_i over the simplex, for Q problems at once.

    Points should be of the order of 1 and centred: costs and targets are compared with them by rounding.

    Args:
        points: w, the vertices, [m, D] float64, or [Q, m, D] if each problem has its own.
        targets: t, [Q, D] float64.
        costs: c, [Q, m] float64.
        start: the vertex to start from, [Q] int64; None: the best one. Of vertices that differ by less
            than the square root of rounding, all may pass for optimal: the one given is kept.
        limit: most faces to solve; None: 100 + 20 min(m, D + 1), several times what the hardest cases met
            took.

    Returns:
        SimplexSolution; a solution whose residual is not of the order of rounding is not optimal.
    """
    n_points, dimension = points.shape[-2:]
    assert targets.shape == (len(costs), dimension), (points.shape, targets.shape, costs.shape)
    assert costs.shape[-1] == n_points > 0, (points.shape, costs.shape)
    room = min(n_points, dimension + 1)
    limit = LEAST_LIMIT + LIMIT_PER_VERTEX * room if limit is None else limit
    everyone = _Problems(points, targets, costs)
    best = _single(_best_vertex(everyone) if start is None else start, room)
    residual = torch.full_like(costs[:, 0], torch.inf)
    iterations = torch.zeros_like(best.size)
    rows, problems, support = torch.arange(len(costs), device=costs.device), everyone, best
    for _ in range(limit):
        if not len(rows):
            break
        iterations[rows] += 1
        support, face, solved = _towards_optimum(problems, support)
        gradient = _gradient(problems, support)
        spread = torch.where(solved, _spread(support, gradient), torch.inf)
        better = spread < residual[rows]
        residual[rows[better]] = spread[better]
        for kept, now in zip(best, support, strict=True):
            kept[rows[better]] = now[better]
        entering, gap = _steepest(problems, support, gradient)
        support = _enter(problems, support, face, entering, gap, solved)
        going_on = ~solved | (gap > 0)
        if not bool(going_on.all()):
            rows, problems = rows[going_on], problems.rows(going_on)
            support = _Support(*(part[going_on] for part in support))
    weights = torch.zeros_like(costs).scatter_add_(1, best.vertices, best.weights)
    residual = _spread(best, _gradient(everyone, best))
    return SimplexSolution(weights, torch.where(best.filled, best.vertices, -1), residual, iterations)


def _positions(slots: Tensor) -> Tensor:
    """0, 1, ..., P - 1 for slots [Q, P]."""
    return torch.arange(slots.shape[1], device=slots.device)


def _best_vertex(problems: _Problems) -> Tensor:
    """The vertex with the smallest objective, [Q]."""
    squares = (problems.points**2).sum(-1) - 2 * problems.products(problems.targets)
    return (squares + problems.costs).argmin(-1)


def _single(vertex: Tensor, room: int) -> _Support:
    """All weight on one vertex [Q], in P = ``room`` slots."""
    vertices = torch.nn.functional.pad(vertex[:, None], (0, room - 1))
    weights = torch.zeros(vertices.shape, dtype=torch.float64, device=vertex.device)
    weights[:, 0] = 1
    return _Support(vertices, weights, torch.ones_like(vertex))


def _gradient(problems: _Problems, support: _Support) -> Tensor:
    """2 <w_i, sum_j lam_j w_j - t> + c_i, [Q, m]."""
    mean = torch.einsum("qp,qpd->qd", support.weights, problems.vertices(support.vertices))
    return 2 * problems.products(mean - problems.targets) + problems.costs


def _spread(support: _Support, gradient: Tensor) -> Tensor:
    """Largest entry of the support minus the smallest of all, [Q]."""
    carried = gradient.gather(1, support.vertices).masked_fill(~support.filled, -torch.inf)
    return carried.amax(-1) - gradient.amin(-1)


def _steepest(problems: _Problems, support: _Support, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The vertex outside the support with the smallest gradient [Q], and its gap, 0 where it is rounding."""
    level = (support.weights * gradient.gather(1, support.vertices)).sum(-1)
    carried = torch.where(support.filled, support.vertices, support.vertices[:, :1])
    lowest, entering = gradient.scatter(1, carried, torch.inf).min(-1)
    terms = problems.costs.abs().amax(-1) + 2 * problems.points.abs().amax() * problems.targets.norm(dim=-1)
    gap = level - lowest
    return entering, torch.where(gap > ROUNDING * (1 + terms), gap, 0.0)


def _face(problems: _Problems, support: _Support) -> _Face:
    """Factorise the edges of a support."""
    most = int(support.size.max())
    corners = problems.vertices(support.vertices[:, :most])  # [Q, K + 1, D]
    real = support.filled[:, 1:most]  # [Q, K]
    edges = (corners[:, 1:] - corners[:, :1]) * real[..., None]
    directions, triangle = torch.linalg.qr(edges.mT)
    return _Face(corners[:, 0], directions * real[:, None], triangle + torch.diag_embed((~real).double()))


def _towards_optimum(problems: _Problems, support: _Support) -> tuple[_Support, _Face, Tensor]:
    """Step to the optimum of the affine hull of the support, or as far as the weights stay positive.

    With edges Q R and mu the weights of all vertices but the first,
        R mu = -Q^T (w_0 - t) - R^-T (c_i - c_0) / 2.

    Returns:
        The support, without the vertex that stopped the step if one did; the face of the support
        that was given; and where the optimum was reached, [Q] bool.
    """
    face = _face(problems, support)
    most = face.triangle.shape[-1] + 1
    prices = problems.costs.gather(1, support.vertices[:, :most])
    prices = ((prices[:, 1:] - prices[:, :1]) * support.filled[:, 1:most])[..., None]
    pull = torch.linalg.solve_triangular(face.triangle.mT, prices, upper=False).squeeze(-1)
    optimum = torch.zeros_like(support.weights)
    optimum[:, :most] = face.barycentric(-face.along(face.base - problems.targets) - pull / 2)
    stopping = support.filled & (optimum <= NO_WEIGHT)
    fall = (support.weights - optimum).clamp(min=0)
    share = torch.where(fall > 0, support.weights / fall, 0.0).masked_fill(~stopping, torch.inf)
    step, slot = share.min(-1)
    solved = torch.isinf(step)
    moved = torch.lerp(support.weights, optimum, step.clamp(max=1)[:, None]).clamp(min=0)
    return _Support(support.vertices, moved, support.size).without(slot, ~solved), face, solved


def _enter(
    problems: _Problems, support: _Support, face: _Face, entering: Tensor, gap: Tensor, solved: Tensor
) -> _Support:
    """Move weight to the entering vertex [Q] of problems at the optimum of their face, gap [Q] > 0.

    Along e_j - a the weights are lam - s a, and s for the vertex itself: up to s = gap / (2 eps^2), where it
    joins the others, or to the first zero, where it takes the place of the one that vanishes.
    """
    edge = problems.vertices(entering[:, None]).squeeze(1) - face.base
    along = face.along(edge)
    above = edge - torch.einsum("qdk,qk->qd", face.directions, along)
    room = support.vertices.shape[1]
    shares = torch.zeros_like(support.weights)
    shares[:, : face.triangle.shape[-1] + 1] = face.barycentric(along)
    shares = shares.masked_fill(~support.filled, 0.0)
    until = torch.where(shares > NO_WEIGHT, support.weights / shares, torch.inf)
    first_zero = until.amin(-1)
    tied = until <= first_zero[:, None] * (1 + TIE)
    slot = torch.where(tied, shares, -torch.inf).argmax(-1)
    square = (above**2).sum(-1)
    joins = (gap < 2 * square * first_zero) & (support.size < room)
    step = torch.where(joins, gap / (2 * square), first_zero)
    step = torch.where(solved & (gap > 0), step, 0.0)
    moving = step > 0
    slot = torch.where(joins, support.size, slot).clamp(max=room - 1)[:, None]
    weights = (support.weights - step[:, None] * shares).clamp(min=0)
    weights = weights.scatter(1, slot, torch.where(moving[:, None], step[:, None], weights.gather(1, slot)))
    there = torch.where(moving[:, None], entering[:, None], support.vertices.gather(1, slot))
    return _Support(support.vertices.scatter(1, slot, there), weights, support.size + (moving & joins).long())
