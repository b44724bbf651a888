"""What is known of MFGLib's ten environments: how their kernels read the population, bounds, constants.

Everything is derived from the kernels of MFGLib 0.3.0, per step t, in its own reward units; norms are l1.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from .mfglib_kernels import (
    Kernel,
    beach_bar_reward,
    building_evacuation_reward,
    constant_reward,
    linear_quadratic_law,
    random_linear_law,
    random_linear_reward,
    susceptible_infected_law,
    vectorised,
)

ROUNDING = 1e-6  # of the largest reward: the kernels compute in float32


class Slopes(NamedTuple):
    """Attributes:
    transition: L_P; infinite where the law jumps.
    reward: L_R in the environment's reward units.
    monotone: whether P is free of mu and sum (R(mu) - R(mu')) (mu - mu') <= 0.
    """

    transition: float
    reward: float
    monotone: bool


class Known(NamedTuple):
    """What a game needs to know of an environment and cannot find out by calling it.

    Attributes:
        slopes: of the environment.
        fixed_transition, time_dependent, local_reward: as those of a game.
        strip: whether states of one axis lie side by side, as on a map of one row.
        highest: reward above which none lies, although it is not at a corner of the simplex.
        law, reward: for a batch, where ``torch.vmap`` cannot follow the kernel, not exactly or not as fast.
        positive, not_negative: knobs for which alone the derivations here hold.
    """

    slopes: Callable[[Any], Slopes]
    fixed_transition: bool = False
    time_dependent: bool = False
    local_reward: bool = False
    strip: bool = False
    highest: Callable[[Any], float] | None = None
    law: Callable[[Any], Kernel] | None = None
    reward: Callable[[Any], Kernel] | None = None
    positive: tuple[str, ...] = ()
    not_negative: tuple[str, ...] = ()


class Bounds(NamedTuple):
    """Attributes:
    low, high: no reward lies outside, reward units of the environment.
    """

    low: float
    high: float


def reward_bounds(environment: Any, known: Known, reward: Kernel) -> Bounds:
    """Bounds of the rewards over all steps, cells and populations, attained up to float32.

    Where, for every cell, R is quasi-convex and quasi-concave in L, both extremes lie at corners of the
    simplex. So it is where R is affine (left_right, rock_paper_scissors, random_linear,
    susceptible_infected), and where it is a monotone function of one linear form: -log of the share nu(s)
    (beach_bar, building_evacuation, crowd_motion), the price at the supply (equilibrium_price). In
    conservative_treasure_hunting r_s (1 - |L - e_ss|^2 / 2) is concave or convex by the sign of r_s: one
    extreme lies at a corner for that, the other where the distance is 0, at the corner e_ss itself. In
    linear_quadratic R is concave in the mean state: the least is at a corner, the largest is ``highest``.

    Args:
        environment: MFGLib's.
        known: what is known of it.
        reward: its rewards at a batch of populations.
    """
    n_cells = environment.n_states * environment.n_actions
    if known.local_reward:  # the measures that hold 0, or 1, in every state at once
        held = torch.tensor([0.0, 1 / environment.n_actions]).unsqueeze(1).expand(2, n_cells)
    else:
        held = torch.eye(n_cells)
    corners = held.reshape(-1, *environment.S, *environment.A)
    steps = range(environment.T + 1) if known.time_dependent else range(1)
    found = [(table.min().item(), table.max().item()) for table in (reward(t, corners) for t in steps)]
    low, high = min(pair[0] for pair in found), max(pair[1] for pair in found)
    if known.highest is not None:
        high = max(high, known.highest(environment))
    slack = ROUNDING * max(abs(low), abs(high))
    return Bounds(low - slack, high + slack)


def linear_quadratic_highest(environment: Any) -> float:
    """max over x = m - s in [-2 el, 2 el] of (-a^2 / 2 + q a x - kappa x^2 / 2) delta, and of the terminal.

    For kappa > 0 the quadratic peaks at x = q a / kappa; else it is convex and its largest is at an end.
    """
    f = environment.reward_fn
    actions = f.r_c1[0].mul(-2).sqrt().double()  # |a|; a and -a reach the same over a symmetric range of x
    q = f.r_c21.abs().max().item() / max(actions.max().item(), 1)
    reach = 2.0 * f.el
    peaks = (q * actions / f.kappa).clamp(-reach, reach) if f.kappa > 0 else torch.zeros_like(actions)
    x = torch.stack([peaks, torch.full_like(peaks, reach), torch.zeros_like(peaks)])
    running = (-(actions**2) / 2 + abs(q) * actions * x - f.kappa * x**2 / 2) * f.delta
    terminal = max(0.0, -0.5 * f.c_term * reach**2)
    return max(running.max().item(), terminal)


def _still(slope: Callable[[Any], float], *, monotone: bool) -> Callable[[Any], Slopes]:
    """Of an environment whose transitions read nothing."""
    return lambda environment: Slopes(0.0, slope(environment), monotone)


def _crowd_slope(environment: Any) -> float:
    """d/d nu of -weight log(nu + eps) is at most weight / eps, and |d nu(s)| <= |d L|_1 / 2."""
    function = environment.reward_fn
    return getattr(function, "eta", 1.0) / function.log_eps / 2


def _affine_slope(environment: Any) -> float:
    """R = <w, L> + b changes by at most (max w - min w) / 2 for each unit of |d L|_1, sum d L = 0."""
    n_cells = environment.n_states * environment.n_actions
    corners = torch.eye(n_cells).reshape(n_cells, *environment.S, *environment.A)
    values = vectorised(environment.reward)(0, corners).double()
    return ((values.amax(0) - values.amin(0)) / 2).max().item()


def _price_slope(environment: Any) -> float:
    """q d/dx (d / (x + e0))^(1 / sigma), x the supply in 0 .. Q, steepest at 0; |dx| <= Q |d L|_1 / 2."""
    f = environment.reward_fn
    most = float(f.q_tensor.max())
    steepest = (f.d / f.e0) ** (1 / f.sigma) / (f.sigma * f.e0)
    return most * steepest * most / 2


def _treasure_slopes(environment: Any) -> Slopes:
    """|L - e|^2 changes by at most 2 |d L|_1 on the simplex: r_s and, by g = 1 / (1 + n c x), 4 c (n - 1).

    P = (1 - g) / n + g 1[s' = a] changes by (2 - 2 / n) |d g|, and |d g| <= n c |d x|.
    """
    prices = [abs(r) for r in environment.reward_fn.r]
    costs = [abs(c) for c in environment.transition_fn.c]
    return Slopes(4 * max(costs) * (environment.n_states - 1), max(prices), False)


def _softmax_slopes(environment: Any) -> Slopes:
    """|d softmax(x)|_1 <= (max d x - min d x) / 2; x = p1 L, of which column a of L enters in cell (s, a)."""
    pull = environment.transition_fn.p1.double()  # [S', S, K]
    spread = (pull.amax(0) - pull.amin(0)).max().item()
    return Slopes(spread / 2, _affine_slope(environment), False)


CROWD = Known(
    _still(_crowd_slope, monotone=True), fixed_transition=True, local_reward=True, positive=("log_eps",)
)
ENVIRONMENTS: dict[str, Known] = {
    "beach_bar": CROWD._replace(strip=True, reward=beach_bar_reward),
    "building_evacuation": CROWD._replace(not_negative=("eta",), reward=building_evacuation_reward),
    "conservative_treasure_hunting": Known(_treasure_slopes, time_dependent=True, not_negative=("c",)),
    "crowd_motion": CROWD._replace(time_dependent=True),
    "equilibrium_price": Known(
        _still(_price_slope, monotone=True), fixed_transition=True, positive=("d", "e0", "sigma")
    ),
    "left_right": Known(_still(_affine_slope, monotone=True), fixed_transition=True, local_reward=True),
    "linear_quadratic": Known(
        lambda environment: Slopes(math.inf, math.inf, False),
        time_dependent=True,
        strip=True,
        highest=linear_quadratic_highest,
        law=lambda environment: linear_quadratic_law(environment.transition_fn),
        positive=("delta",),
        not_negative=("sigma", "kappa", "c_term"),
    ),
    "random_linear": Known(
        _softmax_slopes,
        law=lambda environment: random_linear_law(environment.transition_fn),
        reward=lambda environment: random_linear_reward(environment.reward_fn),
        positive=("m",),
    ),
    "rock_paper_scissors": Known(_still(_affine_slope, monotone=False), fixed_transition=True),
    "susceptible_infected": Known(
        lambda environment: Slopes(0.81, 0.0, False),
        local_reward=True,
        law=susceptible_infected_law,
        reward=constant_reward,
    ),
}
