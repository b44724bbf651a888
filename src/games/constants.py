"""What a game declares of its symmetry, in closed form."""

from typing import NamedTuple


class SymmetryConstants(NamedTuple):
    """Closed-form constants of a game (Yardim & He 2025, Def. 6); norms are l1.

    Attributes:
        alpha: largest l1 distance of an agent's transition law from the induced one, <= 2.
        beta: largest distance of an agent's reward from the induced one, <= 1.
        lipschitz_transition: L_P of the induced transition law in mu.
        lipschitz_reward: L_R of the induced reward in mu.
        lipschitz_population: L_pop of the update mu_h -> mu_{h+1}.
        monotone: whether the game is monotone extendable: its induced P does not depend on mu, and
            sum_{s,a} (R(s, a, mu) - R(s, a, mu')) (mu - mu')(s, a) <= 0; None where it is not known.
    """

    alpha: float
    beta: float
    lipschitz_transition: float
    lipschitz_reward: float
    lipschitz_population: float
    monotone: bool | None = None


def counting_itself(constants: SymmetryConstants | None, n_agents: int) -> SymmetryConstants | None:
    """The constants for ``population="all"``: an agent's own 1 / N moves mu by at most 2 / N in l1.

    Measured against the induced game at the distribution of the others, this adds 2 L_P / N to
    alpha and 2 L_R / N to beta, which are never more than 2 and 1.
    """
    if constants is None:
        return None
    return constants._replace(
        alpha=min(2.0, constants.alpha + 2 * constants.lipschitz_transition / n_agents),
        beta=min(1.0, constants.beta + 2 * constants.lipschitz_reward / n_agents),
    )
