"""The constants of a game whose steps differ: the largest of any step's."""

from collections.abc import Sequence

from .record import CONSTANTS, ESTIMATE, EXACT, LOWER, UPPER, Constant, Symmetry


def worst_of(by_step: Sequence[Symmetry]) -> Symmetry:
    """One record for all steps, found by the same method.

    A maximum of exact numbers is exact; with lower bounds among them it is one, with upper bounds it is what
    the largest is, and anything else is an estimate. A game is monotone if it is at every step.
    """
    if len(by_step) == 1:
        return by_step[0]
    alpha, beta, transition, reward, population = (
        _largest([getattr(step, name) for step in by_step]) for name in CONSTANTS
    )
    worst = min(by_step, key=lambda step: {False: 0, None: 1, True: 2}[step.monotone])
    return worst._replace(
        alpha=alpha,
        beta=beta,
        lipschitz_transition=transition,
        lipschitz_reward=reward,
        lipschitz_population=population,
    )


def _largest(constants: list[Constant]) -> Constant:
    h = max(range(len(constants)), key=lambda h: constants[h].value)
    kinds, where = {constant.kind for constant in constants}, constants[h].where
    told = f"step {h}: {where}" if where else f"step {h}"
    return Constant(constants[h].value, _kind(kinds, constants[h].kind), told)


def _kind(kinds: set[str], largest: str) -> str:
    """Of a maximum of constants of these kinds, the largest of which is of the kind ``largest``."""
    if kinds <= {EXACT, UPPER}:
        return largest
    return LOWER if kinds <= {EXACT, LOWER} else ESTIMATE
