"""Do counts come from the laws they are said to come from: chi-square tests, without SciPy."""

from typing import NamedTuple

import torch
from torch import Tensor

LEAST_EXPECTED = 20.0  # counts; rarer values of a row are taken together, as the approximation asks


class Fit(NamedTuple):
    """What chi-square tests say of K rows of counts.

    Attributes:
        p_values: of each row, by the likelihood ratio, [K] float64; 1 where a row tells nothing.
        overall: of all rows together, by Pearson's statistic, a scalar.
        impossible: draws of values that have probability zero, [K].
    """

    p_values: Tensor
    overall: Tensor
    impossible: Tensor


def survival(statistic: Tensor, degrees: Tensor) -> Tensor:
    """P(X >= statistic) of a chi-square variable: Q(degrees / 2, statistic / 2); 1 at no degrees."""
    p = torch.special.gammaincc(degrees.clamp(min=1).double() / 2, statistic.double() / 2)
    return torch.where(degrees > 0, p, 1.0)


def goodness_of_fit(counts: Tensor, laws: Tensor) -> Fit:
    """Test counts against laws, row by row and all together.

    With n draws of a row and E = n p, rows are judged by 2 sum count log(count / E) (Wilks 1938), whose
    far tail, where many rows have to be judged, is that of the counts; all together by
    sum (count - E)^2 / E (Pearson 1900), whose mean is exact however many there are. Both are chi-square
    with one degree less than there are values. Values with E < 20 are taken together, and with the
    likeliest one if that does not help; a row that has fewer draws tells nothing.

    Args:
        counts: how often each value was drawn, [K, V].
        laws: probabilities, [K, V]; rows sum to 1.
    """
    counts, laws = counts.double(), laws.double()
    seen, due = merged(counts, laws * counts.sum(-1, keepdim=True))  # [K, V + 1] each
    tested = due >= LEAST_EXPECTED
    degrees = (tested.sum(-1) - 1).clamp(min=0)
    tested &= (degrees > 0).unsqueeze(-1)
    ratio = torch.where(tested, 2 * torch.xlogy(seen, seen / due.clamp(min=LEAST_EXPECTED)), 0.0).sum(-1)
    pearson = torch.where(tested, (seen - due) ** 2 / due.clamp(min=LEAST_EXPECTED), 0.0).sum()
    return Fit(
        p_values=survival(ratio.clamp(min=0.0), degrees),
        overall=survival(pearson, degrees.sum()),
        impossible=torch.where(laws > 0, 0.0, counts).sum(-1),
    )


def merged(counts: Tensor, expected: Tensor) -> tuple[Tensor, Tensor]:
    """Counts and expectations [K, V] with rare values taken together: [K, V + 1] each, 0 where merged.

    The last value is the sum of the rare ones or, where even that is rare, joins the likeliest value.
    """
    rare = expected < LEAST_EXPECTED
    rest = torch.stack([torch.where(rare, x, 0.0).sum(-1) for x in (counts, expected)])  # [2, K]
    enough = rest[1] >= LEAST_EXPECTED
    likeliest = torch.nn.functional.one_hot(expected.argmax(-1), expected.shape[-1]).to(rest)
    joins = torch.where(enough, 0.0, rest).unsqueeze(-1) * likeliest  # [2, K, V]
    kept = torch.where(rare, 0.0, torch.stack([counts, expected])) + joins
    last = torch.where(enough, rest, 0.0).unsqueeze(-1)
    both = torch.cat([kept, last], -1)
    return both[0], both[1]


def same_law(first: Tensor, second: Tensor) -> Tensor:
    """P-value, over all rows together, that two sets of counts [K, V] come from the same laws.

    Pearson's test of homogeneity: both against their pooled law; values that are expected fewer than 20
    times in either set are left out.
    """
    first, second = first.double(), second.double()
    sizes = torch.stack([first.sum(-1, keepdim=True), second.sum(-1, keepdim=True)])  # [2, K, 1]
    pooled = (first + second) / sizes.sum(0).clamp(min=1)
    due = sizes * pooled
    common = (due >= LEAST_EXPECTED).all(0)
    seen = torch.stack([first, second])
    terms = torch.where(common, (seen - due) ** 2 / due.clamp(min=LEAST_EXPECTED), 0.0).sum()
    degrees = (common.sum(-1) - 1).clamp(min=0).sum()
    return survival(terms, degrees)


def mean_p_values(sums: Tensor, counts: Tensor, means: Tensor, *, rounding: float = 0.0) -> Tensor:
    """P-values that sums of draws in [0, 1] have the means they are said to have.

    2 exp(-n KL(mean drawn | mean)), KL of two coins, bounds both tails of n independent draws in [0, 1]
    whatever their laws (Hoeffding 1963, Theorem 1): a sound mean fails no more often than it says.

    Args:
        sums: of the draws of each group, any shape.
        counts: how many they are.
        means: in [0, 1].
        rounding: of the draws; means no further apart than that are the same.
    """
    counts, p = counts.double(), means.double().clamp(0.0, 1.0)
    q = (sums.double() / counts.clamp(min=1)).clamp(0.0, 1.0)
    entropy = torch.xlogy(q, q) + torch.xlogy(1 - q, 1 - q)
    apart = entropy - torch.xlogy(q, p) - torch.xlogy(1 - q, 1 - p)  # inf where p is 0 and q is not
    apart = apart.clamp(min=0.0)
    told = (counts > 0) & ((q - p).abs() > rounding)
    return torch.where(told, (2 * (-counts * apart).exp()).clamp(max=1.0), 1.0)
