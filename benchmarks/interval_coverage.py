"""How often the bootstrap interval of `mf-pmd compare` covers the truth: the table in docs/compare.md.

    python benchmarks/interval_coverage.py [--repetitions 1000]

Seeds are drawn from laws whose interquartile mean is known: standard normal (0), and exponential (by
quadrature over the middle half).
"""

import argparse
from collections.abc import Callable

import numpy as np
from scipy.stats import expon

from mf_pmd.evaluation.aggregate import estimate

SEEDS = (3, 5, 10, 20)
QUARTILES = (expon.ppf(0.25), expon.ppf(0.75))
EXPONENTIAL_MEAN = 2 * expon.expect(lambda x: x, lb=QUARTILES[0], ub=QUARTILES[1])
LAWS: dict[str, tuple[Callable[[np.random.Generator, int], np.ndarray], float]] = {
    "normal": (lambda random, count: random.normal(size=count), 0.0),
    "exponential": (lambda random, count: random.exponential(size=count), EXPONENTIAL_MEAN),
}


def covered(law: str, seeds: int, repetitions: int) -> float:
    """Share of the repetitions whose interval holds the interquartile mean of the law."""
    draw, truth = LAWS[law]
    random = np.random.default_rng(1)
    found = [estimate([draw(random, seeds)]) for _ in range(repetitions)]
    return sum(each.lower <= truth <= each.upper for each in found) / repetitions


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    repetitions = parser.parse_args().repetitions
    print(f"| law of the seeds | {' | '.join(f'{count} seeds' for count in SEEDS)} |")
    print("|---|" + "---|" * len(SEEDS))
    for law in LAWS:
        cells = (f"{covered(law, count, repetitions):.0%}" for count in SEEDS)
        print(f"| {law} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
