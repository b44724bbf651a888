"""What a mean-field equilibrium promises in the game of N players, with every constant written out."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Terms(NamedTuple):
    """What each source contributes to B, reward units summed over the horizon; they add up to B.

    Attributes:
        sampling: n agents are no continuum, the terms in 1 / sqrt(n).
        exchange: each of them meets a population of its own, the terms in 2 L_P / n.
        alpha: their transition laws are not the induced one.
        beta: the deviator's reward is not the induced one.
    """

    sampling: float
    exchange: float
    alpha: float
    beta: float


class Certificate(NamedTuple):
    """Bounds that hold at once for every agent i, any pi_h(a | s) of the rest and any deviation pi'.

    Attributes:
        population_error: e_h >= E |sigma(rho_h^-i) - mu_h|_1, the population that agent i meets against the
            mean-field flow mu = Lambda(pi), [H] float64.
        law_error: d_h >= l1 distance of the law of agent i's own (s, a) from its law in that flow, [H]
            float64.
        bound: B >= |J^i(pi', pi^-i) - V(Lambda(pi), pi')|, reward units summed over the horizon.
        terms: of B, by source.
    """

    population_error: Tensor
    law_error: Tensor
    bound: float
    terms: Terms

    def nash_gap(self, exploitability: float) -> float:
        """E(pi) + 2 B: pi, played by all, is a Nash equilibrium of the N-player game up to this.

        Args:
            exploitability: E(pi) in the mean-field game, reward units summed over the horizon.
        """
        return exploitability + 2 * self.bound

    def vacuous(self, exploitability: float) -> bool:
        """Whether that says nothing: E(pi) + 2 B >= H, and no one can gain more than H anyway."""
        return self.nash_gap(exploitability) >= len(self.population_error)


def certificate(
    *,
    alpha: float,
    beta: float,
    lipschitz_transition: float,
    lipschitz_reward: float,
    lipschitz_population: float,
    n_agents: int,
    n_cells: int,
    horizon: int,
    coupled: bool = True,
) -> Certificate:
    """Yardim & He 2025, Thm 9, with its constants: max_i E^i(pi) <= E(pi) + 2 B for pi that all agents play.

    With n = N - 1 others, d cells, norms l1, rewards in [0, 1], and every e, c and d capped at 2:

        e_0 = sqrt((d - 1) / n)
        e_{h+1} = min( e_0 + alpha + 2 L_P / n + L_pop e_h,  e_0 + c_{h+1} )
        c_0 = 0,  c_{h+1} = c_h + alpha + 2 L_P / n + L_P e_h
        d_0 = 0,  d_{h+1} = d_h + alpha + L_P e_h
        B = sum_h min( 1, beta + L_R e_h + d_h / 2 )

    The first form of e_{h+1} lets the population pass through its update step by step; the second
    follows each of the others beside a copy of it in the mean field, c_h being twice the chance that they
    have parted, so that agents who do not act on one another are sampled once (Sznitman 1991 calls this
    propagation of chaos). Both hold, docs/theory.md proves them. What the rest play must be one pi_h(a | s):
    where that reads the population, nothing is covered. The deviation may be anything, of the whole past and
    of the population too: whoever sees more than (h, s) has the (s, a) of its Markov marginal
    pi'_h(a | s) = P(a_h = a | s_h = s), and d follows the same recursion. It is a certificate only if the
    five constants are no smaller than the true ones; of estimates it makes an estimate.

    ``terms`` takes every e, c, d and step of B apart along these equations, which are linear in the sources
    but for the minimum and the caps: of the minimum the smaller form is taken apart, and where a cap cuts a
    number it cuts each of its parts in the same proportion.

    Args:
        alpha: largest l1 distance of an agent's transition law from the model's, including the 2 L_P / N
            that ``population="all"`` adds.
        beta: the same of rewards, 2 L_R / N included.
        lipschitz_transition: L_P of the model.
        lipschitz_reward: L_R of it.
        lipschitz_population: L_pop of mu_h -> mu_{h+1} for any policy; at most
            L_P + max |P(s, a, mu) - P(s~, a~, mu)|_1 / 2.
        n_agents: N >= 2.
        n_cells: d = |S| |A|.
        horizon: H >= 1.
        coupled: whether the second form is used; without it this is the first recursion alone.
    """
    constants = (alpha, beta, lipschitz_transition, lipschitz_reward, lipschitz_population)
    assert all(math.isfinite(constant) and constant >= 0 for constant in constants), constants
    assert n_agents >= 2, n_agents
    assert n_cells >= 1, n_cells
    assert horizon >= 1, horizon
    n_others = n_agents - 1
    sampling = _source("sampling", math.sqrt((n_cells - 1) / n_others))
    asymmetry = _source("alpha", alpha)
    misled = asymmetry + _source("exchange", 2 * lipschitz_transition / n_others)
    population, parted, law = [_capped(sampling)], torch.zeros_like(sampling), [torch.zeros_like(sampling)]
    for _ in range(horizon - 1):
        error = population[-1]
        parted = _capped(parted + misled + lipschitz_transition * error)
        passed = sampling + misled + lipschitz_population * error
        together = sampling + parted
        smaller = together if coupled and together.sum() < passed.sum() else passed
        population.append(_capped(smaller))
        law.append(_capped(law[-1] + asymmetry + lipschitz_transition * error))
    errors, laws = torch.stack(population), torch.stack(law)  # [H, K] each
    steps = _source("beta", beta) + lipschitz_reward * errors + laws / 2  # [H, K]
    terms = _capped(steps, most=1.0).sum(0)  # rewards lie in [0, 1]
    return Certificate(errors.sum(-1), laws.sum(-1), terms.sum().item(), Terms(*terms.tolist()))


def _source(name: str, value: float) -> Tensor:
    """A number that is all from one source, as parts [K] float64 in the order of Terms."""
    parts = torch.zeros(len(Terms._fields), dtype=torch.float64)
    parts[Terms._fields.index(name)] = value
    return parts


def _capped(parts: Tensor, *, most: float = 2.0) -> Tensor:
    """Parts [..., K] >= 0, scaled down to a sum of 2, the l1 distance that no two laws exceed, or another."""
    return parts * (most / parts.sum(-1, keepdim=True).clamp(min=most))
