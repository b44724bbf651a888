"""The constants of a game whose steps differ: the largest of any step's."""

from collections.abc import Sequence

from .record import CONSTANTS, EXACT, LOWER, Constant, Symmetry


def worst_of(by_step: Sequence[Symmetry]) -> Symmetry:
    """One record for all steps, found by the same method.

    A maximum of exact numbers is exact; with a lower bound among them it is one. A game is monotone if it is
    at every step.
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
    kinds = {constant.kind for constant in constants}
    kind = EXACT if kinds == {EXACT} else LOWER if LOWER in kinds else constants[h].kind
    told = f"step {h}: {constants[h].where}" if constants[h].where else f"step {h}"
    return Constant(constants[h].value, kind, told)
