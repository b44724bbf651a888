"""The declared alpha, beta, Lipschitz constants and monotonicity against sampled populations."""

import torch

from ...functional.monotonicity import Monotonicity, monotonicity
from ...functional.populations import round_to_lattice
from ..sampled_kernels import distances, slopes_around
from .subject import ENTRIES_AT_ONCE, NotApplicable, Subject, distributions, need_tables, require

SLACK = 1e-6  # of constants written in float32
DIRECTIONS = 200  # pairs of cells between which mass is moved to measure a Lipschitz constant
FEWEST_DIRECTIONS = 20  # of games whose tables are large
NAMES = ("alpha", "beta", "lipschitz_transition", "lipschitz_reward", "lipschitz_population")


def check_constants(subject: Subject) -> str:
    """Sampled distances and slopes stay below alpha, beta and the Lipschitz constants.

    A game that declares itself monotone is looked over for a violation; one that says nothing is not.
    """
    game = subject.game
    need_tables(game)
    seen = sampled_constants(subject)
    if game.constants is None:
        values = ", ".join(f"{name} {value:.3g}" for name, value in seen.items())
        raise NotApplicable(f"none are declared; they are no smaller than {values}")
    declared, beyond = game.constants._asdict(), beyond_declared(subject, seen)
    if game.constants.monotone:
        found = _sampled_monotonicity(subject)
        if found.monotone is False:
            beyond.append(f"monotone = True, but {found.note}")
    require(not beyond, "; ".join(beyond))
    return ", ".join(f"{name} {value:.3g} <= {declared[name]:.3g}" for name, value in seen.items())


def beyond_declared(subject: Subject, seen: dict[str, float] | None = None) -> list[str]:
    """Which declared constants are exceeded by what is seen; None for what ``sampled_constants`` sees."""
    assert subject.game.constants is not None
    declared = subject.game.constants._asdict()
    return [
        f"{name} = {declared[name]:g}, but {value:.6g} was seen"
        for name, value in (sampled_constants(subject) if seen is None else seen).items()
        if value > declared[name] + SLACK
    ]


def sampled_constants(subject: Subject) -> dict[str, float]:
    """The largest alpha, beta, L_P, L_R and L_pop seen at sampled populations.

    Distances are taken to the declared game of u = 0, at populations that the others can form; slopes
    anywhere on the simplex.
    """
    game, model = subject.game, subject.game.mean_field_model()
    populations = distributions(subject, 12)
    counts = round_to_lattice(populations, game.n_agents - 1)
    alpha, beta = distances(game, counts, subject.types, induced=model, h=subject.h)
    slopes = slopes_around(
        model,
        populations,
        (game.n_states, game.n_actions),
        h=subject.h,
        n_moves=max(FEWEST_DIRECTIONS, min(DIRECTIONS, ENTRIES_AT_ONCE // (subject.n_cells * game.n_states))),
        share=0.5,
        generator=subject.random,
    )
    steepest = slopes.amax(0).tolist()
    return dict(zip(NAMES, [alpha.max().item(), beta.max().item(), *steepest], strict=True))


def _sampled_monotonicity(subject: Subject) -> Monotonicity:
    """Of the declared game of u = 0, at sampled populations and, where they are few, all corners."""
    game = subject.game
    populations = distributions(subject, 12)
    few = subject.n_cells**2 * game.n_states <= ENTRIES_AT_ONCE
    if few:
        populations = torch.cat([torch.eye(subject.n_cells).to(populations), populations])
    laws, rewards = subject.tables(populations, populations.new_zeros(len(populations)))
    return monotonicity(populations, laws, rewards, with_corners=few)
