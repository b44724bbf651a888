"""What is said of the symmetry of a game: numbers that carry what kind of number they are."""

from typing import NamedTuple

EXACT, LOWER, UPPER, ESTIMATE, DECLARED = "exact", "lower bound", "upper bound", "estimate", "declared"


class Constant(NamedTuple):
    """Attributes:
    value: the number.
    kind: ``exact`` | ``lower bound`` | ``upper bound`` | ``estimate`` | ``declared``: what a game says of
        itself, of which nothing larger was seen.
    where: the agent or type, cell and population at which it was seen; empty where that says nothing.
    """

    value: float
    kind: str
    where: str = ""


class Symmetry(NamedTuple):
    """The constants of a game (Yardim & He 2025, Def. 6), all in l1 norms, by one method.

    Attributes:
        method: ``closed form`` | ``enumeration`` | ``sampled kernels``.
        alpha: largest l1 distance of an agent's transition law from the induced one, 0 .. 2.
        beta: largest distance of an agent's reward from the induced one, 0 .. 1.
        lipschitz_transition: L_P.
        lipschitz_reward: L_R.
        lipschitz_population: L_pop.
        monotone: whether the game is monotone extendable; None where that could not be told.
        monotone_note: how that is known.
        looked_at: the populations, agents and cells that the numbers are maxima over.
    """

    method: str
    alpha: Constant
    beta: Constant
    lipschitz_transition: Constant
    lipschitz_reward: Constant
    lipschitz_population: Constant
    monotone: bool | None
    monotone_note: str
    looked_at: str

    def constants(self) -> dict[str, Constant]:
        """The five constants by name."""
        return {name: getattr(self, name) for name in CONSTANTS}

    @property
    def certifies(self) -> bool:
        """Whether a certificate may rest on them: none is smaller than the true one, or so the game says."""
        return all(constant.kind in (EXACT, UPPER, DECLARED) for constant in self.constants().values())

    @property
    def hearsay(self) -> bool:
        """Whether one of them is only what the game says of itself."""
        return any(constant.kind == DECLARED for constant in self.constants().values())


CONSTANTS = ("alpha", "beta", "lipschitz_transition", "lipschitz_reward", "lipschitz_population")
