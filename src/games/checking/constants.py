"""The declared alpha, beta and Lipschitz constants against sampled distances and slopes."""

import torch
from torch import Tensor

from .subject import NotApplicable, Subject, distributions, need_tables, require

SLACK = 1e-6  # of constants written in float32
DIRECTIONS = 200  # pairs of cells between which mass is moved to measure a Lipschitz constant


def check_constants(subject: Subject) -> str:
    """Sampled distances and slopes stay below alpha, beta and the Lipschitz constants."""
    game = subject.game
    need_tables(game)
    seen = _sampled_constants(subject)
    if game.constants is None:
        values = ", ".join(f"{name} {value:.3g}" for name, value in seen.items())
        raise NotApplicable(f"none are declared; they are no smaller than {values}")
    declared = game.constants._asdict()
    beyond = [
        f"{name} = {declared[name]:g}, but {value:.6g} was seen"
        for name, value in seen.items()
        if value > declared[name] + SLACK
    ]
    require(not beyond, "; ".join(beyond))
    return ", ".join(f"{name} {value:.3g} <= {declared[name]:.3g}" for name, value in seen.items())


def _sampled_constants(subject: Subject) -> dict[str, float]:
    """The largest alpha, beta, L_P, L_R and L_pop seen at sampled populations."""
    zero = subject.game.initial_law.new_zeros(())
    populations = distributions(subject, 12)
    alpha = beta = 0.0
    for mu in populations:
        law, reward = (table[0] for table in subject.tables(mu.unsqueeze(0), zero.unsqueeze(0)))
        for u in subject.types.double():
            own_law, own_reward = subject.met_rows(mu, u)
            alpha = max(alpha, (own_law - law).abs().sum(-1).max().item())
            beta = max(beta, (own_reward - reward).abs().max().item())
    slopes = [0.0, 0.0, 0.0]
    for mu in populations:
        there = _neighbours(subject, mu)  # [D, C]
        both = torch.cat([mu.unsqueeze(0), there])
        law, reward = subject.tables(both, mu.new_zeros(len(both)))  # [D + 1, C, S], [D + 1, C]
        distance = (there - mu).abs().sum(1)
        moved = torch.einsum("dc,dcs->ds", both, law)
        differences = (
            (law[1:] - law[0]).abs().sum(-1).max(1).values,
            (reward[1:] - reward[0]).abs().max(1).values,
            (moved[1:] - moved[0]).abs().sum(1),
        )
        slopes = [max(s, (d / distance).max().item()) for s, d in zip(slopes, differences, strict=True)]
    names = ("alpha", "beta", "lipschitz_transition", "lipschitz_reward", "lipschitz_population")
    return dict(zip(names, (alpha, beta, *slopes), strict=True))


def _neighbours(subject: Subject, mu: Tensor) -> Tensor:
    """mu with half the mass of one cell moved to another, for many pairs of cells: [D, C].

    Moves from cell to cell are the extreme points of the l1 ball of changes, so that a Lipschitz constant
    is attained along them.
    """
    full = (mu > 1e-3).nonzero().squeeze(1).cpu()
    pick = torch.randint(len(full), (DIRECTIONS,), generator=subject.random)
    source = full[pick]
    shift = torch.randint(1, subject.n_cells, (DIRECTIONS,), generator=subject.random)
    target = (source + shift) % subject.n_cells
    source, target = source.to(mu.device), target.to(mu.device)
    there = mu.repeat(DIRECTIONS, 1)
    rows = torch.arange(DIRECTIONS, device=mu.device)
    mass = there[rows, source] / 2
    there[rows, source] -= mass
    there[rows, target] += mass
    return there
