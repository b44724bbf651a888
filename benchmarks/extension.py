"""The Kirszbraun extension on tight data: time, and what it is said to keep.

    python benchmarks/extension.py [--queries 1000] [--samples 200] [--dimension 10] [--json FILE]

Samples are distributions of 20 agents over the cells, of 3 agents (nearly all there are, so that hundreds of
pairs are equally steep), or points of the unit cube; M is the samples' own constant, exactly. A repetition is
one call, the search for that constant included, on one thread. Half of the near pairs lie at samples, at
distances of 1e-1 to 1e-5.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mf_pmd.functional.extension import kirszbraun, lipschitz_constant

CLOSEST = 5  # pairs are up to 10^-5 near
PER_CALL = 1000
HEAD = ("samples", "values", "s, median of 5", "least", "most", "faces, mean", "faces, most")
CHECKS = ("interpolation", "KKT residual", "near / M - 1", "far / M - 1")


def populations(count: int, cells: int, random: torch.Generator) -> Tensor:
    """Distributions that are neither uniform nor alike, [count, cells]."""
    weights = (-torch.rand(count, cells, generator=random, dtype=torch.float64).log()) ** 3
    return weights / weights.sum(-1, keepdim=True)


def lattice(count: int, cells: int, random: torch.Generator) -> Tensor:
    """Distributions of 20 agents, each at most once, [count or fewer, cells]."""
    weights = populations(2 * count, cells, random)
    chosen = torch.multinomial(weights, 20, replacement=True, generator=random)
    counts = torch.nn.functional.one_hot(chosen, cells).sum(1).unique(dim=0)
    return counts[torch.randperm(len(counts), generator=random)[:count]].double() / 20


def small_lattice(count: int, cells: int, random: torch.Generator) -> Tensor:
    """Distributions of 3 agents, [count or all (cells + 2 choose 3), cells]."""
    chosen = torch.combinations(torch.arange(cells), 3, with_replacement=True)
    counts = torch.nn.functional.one_hot(chosen, cells).sum(1)
    return counts[torch.randperm(len(counts), generator=random)[:count]].double() / 3


def cube(count: int, cells: int, random: torch.Generator) -> Tensor:
    """Uniform on the unit cube, [count, cells]."""
    return torch.rand(count, cells, generator=random, dtype=torch.float64)


def turned(size: int) -> Tensor:
    """A rotation, [size, size]."""
    random = torch.Generator().manual_seed(1)
    return torch.linalg.qr(torch.randn(size, size, generator=random, dtype=torch.float64))[0]


POINTS = {
    "20 agents": (lattice, populations),
    "3 agents": (small_lattice, populations),
    "cube": (cube, cube),
}
VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "linear, 3 values": lambda z: z @ (turned(z.shape[1])[:, :3] * torch.tensor([3.0, 1.0, 0.1]).double()),
    "rotation": lambda z: z @ turned(z.shape[1]),
    "\\|mu_1 - c\\|": lambda z: (z[:, :1] - 0.2).abs(),
    "\\|mu_j - c\\|, all j": lambda z: (z - 0.2).abs(),
    "law (mu_1, 1 - mu_1)": lambda z: torch.stack([z[:, 0], 1 - z[:, 0]], -1),
    "distance from a sample": lambda z: (z - z[0]).norm(dim=-1, keepdim=True),
}


def measure(points: str, function: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row."""
    random = torch.Generator().manual_seed(options.seed)
    draw_samples, draw_queries = POINTS[points]
    samples = draw_samples(options.samples, options.dimension, random)
    queries = draw_queries(options.queries, options.dimension, random)
    values = VALUES[function](samples)
    constant = lipschitz_constant(samples, values)
    seconds = []
    for _ in range(options.repeats + 1):
        begin = time.perf_counter()
        found = kirszbraun(samples, values, constant, queries)
        seconds.append(time.perf_counter() - begin)
    at_samples = kirszbraun(samples, values, constant, samples)
    near, far, worst = slopes(samples, values, constant, queries, options.pairs, random)
    faces = found.iterations.double()
    row = (points, function, statistics.median(seconds[1:]), min(seconds[1:]), max(seconds[1:]))
    checks = (
        (at_samples.values - values).norm(dim=-1).max().item(),
        max(found.residual.max().item(), at_samples.residual.max().item(), worst),
        (near / constant).item() - 1,
        (far / constant).item() - 1,
    )
    return dict(zip(HEAD + CHECKS, (*row, faces.mean().item(), int(faces.max()), *checks), strict=True))


def slopes(
    samples: Tensor, values: Tensor, constant: Tensor, queries: Tensor, pairs: int, random: torch.Generator
) -> tuple[Tensor, Tensor, float]:
    """Largest slope of near pairs and of far ones, and the largest KKT residual met."""
    half = pairs // 2
    turn = torch.arange(pairs)
    at_queries, at_samples = queries[turn[half:] % len(queries)], samples[turn[:half] % len(samples)]
    base = torch.cat([at_samples, at_queries])
    step = torch.randn(base.shape, generator=random, dtype=torch.float64)
    length = 10.0 ** -(1 + (CLOSEST - 1) * torch.rand(len(base), 1, generator=random, dtype=torch.float64))
    beside = base + step / step.norm(dim=-1, keepdim=True) * length
    ends = [
        [kirszbraun(samples, values, constant, part) for part in end.split(PER_CALL)]
        for end in (base, beside)
    ]
    at_base, at_side = (torch.cat([part.values for part in end]) for end in ends)
    near = (at_side - at_base).norm(dim=-1) / (beside - base).norm(dim=-1)
    other = torch.randperm(len(base), generator=random)
    apart = (beside - beside[other]).norm(dim=-1)
    far = torch.where(apart > 0.1, (at_side - at_side[other]).norm(dim=-1) / apart, 0.0)
    return near.max(), far.max(), max(part.residual.max().item() for end in ends for part in end)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in {
        "queries": 1000,
        "samples": 200,
        "dimension": 10,
        "pairs": 10_000,
        "seed": 0,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| {' | '.join(HEAD + CHECKS)} |\n|{'---|' * len(HEAD + CHECKS)}", flush=True)
    rows = []
    for points in POINTS:
        for function in VALUES:
            row = measure(points, function, options)
            rows.append(row)
            shown = (f"{cell:.2g}" if isinstance(cell, float) else str(cell) for cell in row.values())
            print(f"| {' | '.join(shown)} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
