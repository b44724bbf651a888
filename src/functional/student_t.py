"""Student's t distribution, without SciPy."""

import math


def t_two_sided(t: float, degrees: int) -> float:
    """P(|X| <= t) of a t variable with a whole number of degrees of freedom (Abramowitz & Stegun 26.7.3-4).

    With theta = atan(t / sqrt(degrees)) it is a finite sum: sin(theta) times 1 + cos^2 / 2 + 3 cos^4 / 8
    + ... for an even number, 2 / pi times theta + sin (cos + 2 cos^3 / 3 + ...) for an odd one.
    """
    assert degrees >= 1, degrees
    theta = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = degrees % 2 == 1
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(2 if odd else 1, degrees, 2):
        total += term
        term *= cosine * cosine * k / (k + 1)
    return 2 / math.pi * (theta + sine * total) if odd else sine * total


def t_quantile(probability: float, degrees: int) -> float:
    """The t at which P(X <= t) is ``probability``, .5 <= probability < 1, by bisection to rounding."""
    assert 0.5 <= probability < 1, probability
    inside = 2 * probability - 1
    low, high = 0.0, 1.0
    while t_two_sided(high, degrees) < inside:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        if t_two_sided(middle, degrees) < inside:
            low = middle
        else:
            high = middle
    return (low + high) / 2
