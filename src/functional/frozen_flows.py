"""N-player exploitability of an agent, from flows of the others held as they were."""

from typing import NamedTuple

import torch
from torch import Tensor

from .best_response import best_response

TOO_WIDE = 0.25  # of what the game can pay: an interval wider than this says nothing about a gain of 0
ROUNDING = 1e-6  # of what the game can pay: rewards are float32
STANDARD_ERRORS = 2.24  # z: each end then misses with probability .0125, the two together with .025


class FrozenFlows(NamedTuple):
    """Decision problems that an agent faced, one a flow, the others' play held fixed.

    Attributes:
        transition: P^i(s' | s, a, rho^-i_h), [..., H, S, A, S] float64; of size 1 along batch axes on
            which it does not depend.
        reward: R^i(s, a, rho^-i_h), [..., H, S, A] float64.
    """

    transition: Tensor
    reward: Tensor


class Bracket(NamedTuple):
    """The gain of deviating, in reward units summed over the horizon.

    Attributes:
        estimate: what the deviation found gains on flows it was not fitted to.
        lower: the same minus z standard errors.
        upper: what it gains on the flows it was fitted to, plus z standard errors.
        too_weak: whether the deviator was: see ``bracket``; a small estimate then means nothing.
    """

    estimate: float
    lower: float
    upper: float
    too_weak: bool


class Deviation(NamedTuple):
    """A deterministic policy g and what it is worth in the problem it was fitted to.

    Attributes:
        actions: g_h(s), [..., H, S] int64.
        values: V_h(s) of g in the average problem, V_H = 0, [..., H + 1, S] float64.
    """

    actions: Tensor
    values: Tensor


def greedy_deviation(flows: FrozenFlows) -> Deviation:
    """The best response to the average decision problem of F flows.

    Backward induction on the mean of the kernels over flows. With common noise, or others who
    read the population, the flows differ by O(1) and this mean is biased: its gain is then a
    lower bound only.

    Args:
        flows: [..., F, H, S, A(, S)].
    """
    transition, reward = flows.transition.mean(-5), flows.reward.mean(-4)
    actions = best_response(transition, reward).actions
    return Deviation(actions, values_of(FrozenFlows(transition, reward), actions))


def values_of(flows: FrozenFlows, actions: Tensor) -> Tensor:
    """V^g_h(s) = R_h(s, g_h(s)) + sum_s' P_h(s' | s, g_h(s)) V^g_{h+1}(s'), V^g_H = 0, along each flow.

    Args:
        flows: [..., H, S, A(, S)].
        actions: g, broadcasts with [..., H, S].

    Returns:
        [..., H + 1, S], reward units.
    """
    *batch, horizon, n_states, _ = flows.reward.shape
    values = flows.reward.new_zeros(*batch, horizon + 1, n_states)
    for h in reversed(range(horizon)):
        chosen = actions[..., h, :, None].expand(*batch, n_states, 1)
        reward = flows.reward[..., h, :, :].gather(-1, chosen).squeeze(-1)
        laws = flows.transition[..., h, :, :, :]
        law = laws.expand(*batch, *laws.shape[-3:]).gather(
            -2, chosen[..., None].expand(*batch, n_states, 1, n_states)
        )
        ahead = torch.einsum("...st,...t->...s", law.squeeze(-2), values[..., h + 1, :])
        values[..., h, :] = reward + ahead
    return values


def expected_moves(flows: FrozenFlows, values: Tensor) -> Tensor:
    """sum_s' P_h(s' | s, a) V_{h+1}(s') - V_h(s): what a step from (s, a) is expected to change in V.

    Added to an agent's return along its own trajectory, and with V_0 at its first state replaced by
    the mean over rho0, it leaves the expectation as it is and removes the noise of where the
    agent happened to start and to land: a control variate, whatever V is.

    Args:
        flows: of that agent, [..., H, S, A(, S)].
        values: V, fixed beforehand, broadcasts with [..., H + 1, S].

    Returns:
        [..., H, S, A], reward units.
    """
    ahead = torch.einsum("...sat,...t->...sa", flows.transition, values[..., 1:, :])
    return ahead - values[..., :-1, :, None]


def payable(flows: FrozenFlows) -> Tensor:
    """What the game can pay: sum_h (max - min reward), mean over F flows [..., F, H, S, A] -> [...]."""
    spread = flows.reward.amax((-2, -1)) - flows.reward.amin((-2, -1))  # [..., F, H]
    return spread.sum(-1).mean(-1)


def bracket(fitted: Tensor, held_out: Tensor, payable: float, *, z: float = STANDARD_ERRORS) -> Bracket:
    """Bracket of an expected gain from its values in the episodes that fitted the deviation and in others.

    The lower end is the held-out mean minus z standard errors: what a deviation gains at least that
    was found without these episodes. The upper end is the mean over the fitted episodes, where an
    optimum flatters itself, plus z standard errors (or the held-out one's, if that is more). The
    deviator is called too weak when the lower end is no gain although the interval is wider than a
    quarter of what the game can pay, or when the two means disagree beyond their intervals.

    Args:
        fitted: gains [B1] of the episodes that the deviation was fitted to.
        held_out: gains [B2] of the others.
        payable: what the game can pay, reward units.
        z: standard errors by which the ends are widened; neither covers without.
    """
    inside, inside_error = mean_and_error(fitted, z)
    estimate, error = mean_and_error(held_out, z)
    lower, upper = estimate - error, max(inside + inside_error, estimate + error)
    blind = lower <= 0 and upper - lower > TOO_WIDE * payable
    disagree = inside - inside_error > estimate + error + ROUNDING * payable
    return Bracket(estimate, lower, upper, blind or disagree)


def largest_bracket(
    fitted: Tensor, held_out: Tensor, payable: Tensor, *, z: float = STANDARD_ERRORS
) -> tuple[Bracket, int]:
    """Bracket of the largest of U expected gains, and who was taken for it.

    The unit is chosen by the fitted episodes and measured by the others, so that its estimate and
    its lower end are not those of a lucky one: the largest of many noisy estimates is biased upwards.
    The upper end is the largest of all units' upper ends, hence at least that of the unit whose
    gain is truly the largest.

    Args:
        fitted: gains [B1, U].
        held_out: gains [B2, U].
        payable: [U], reward units.
        z: as for ``bracket``.
    """
    chosen = int(fitted.mean(0).argmax())
    found = bracket(fitted[:, chosen], held_out[:, chosen], payable[chosen].item(), z=z)
    ends = [part.mean(0) + z * part.std(0) / len(part) ** 0.5 for part in (fitted, held_out)]
    upper = max(found.upper, torch.stack(ends).max().item())
    blind = found.lower <= 0 and upper - found.lower > TOO_WIDE * payable[chosen].item()
    return Bracket(found.estimate, found.lower, upper, blind), chosen


def mean_and_error(gains: Tensor, z: float) -> tuple[float, float]:
    """Mean of [B] values and z standard errors of it; B >= 2."""
    assert gains.dim() == 1, gains.shape
    assert len(gains) >= 2, gains.shape
    return gains.mean().item(), z * (gains.std() / len(gains) ** 0.5).item()
