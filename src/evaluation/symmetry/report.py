"""What ``mf-pmd symmetry`` says of a game."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from ...errors import UserError
from ...functional.mean_field import Policy
from ...functional.trajectories import FEWEST_EPISODES
from ...functional.trajectory_symmetry import TrajectorySymmetry
from ...games import Game, PopulationGame
from .choose import best_known
from .claims import contradictions
from .declared import declared_symmetry
from .enumerated import enumerated_symmetry
from .from_trajectories import play_and_measure
from .record import Symmetry
from .sampled import sampled_symmetry
from .table import (
    certificate_lines,
    certificate_of,
    certificate_values,
    symmetry_lines,
    symmetry_values,
    title,
    units,
)
from .trajectory_table import trajectory_lines

TRAJECTORIES = "trajectories"
METHODS = ("closed-form", "enumeration", "kernels", TRAJECTORIES)
MOST_AGENT_STEPS = 2**29  # held at once, 12 bytes each and as much again while they are looked at
ORDER = ("closed form", "enumeration", "sampled kernels")  # as records call their methods, most exact first


class Found(NamedTuple):
    """Attributes:
    key: of the game.
    game: that was measured.
    constants: by every method that calls kernels or knows them, in the order they were asked for.
    measured: from trajectories; None where they were not asked for, or tell nothing.
    unmeasured: why they tell nothing.
    played: the policy that made them, in words.
    """

    key: str
    game: Game
    constants: tuple[Symmetry, ...]
    measured: TrajectorySymmetry | None
    unmeasured: str
    played: str

    @property
    def firmest(self) -> Symmetry | None:
        """What the promise rests on: by the most exact method that allows a certificate, or else at all."""
        ordered = sorted(self.constants, key=lambda symmetry: ORDER.index(symmetry.method))
        return next((one for one in ordered if one.certifies), ordered[0] if ordered else None)

    @property
    def contradictions(self) -> list[str]:
        """What the trajectories say against the constants."""
        if self.measured is None:
            return []
        assert isinstance(self.game, PopulationGame)  # of others no trajectories are measured
        return [line for one in self.constants for line in contradictions(one, self.measured, self.game)]


def measure(
    key: str,
    game: PopulationGame,
    policy: Policy,
    *,
    played: str,
    methods: Sequence[str] | None,
    n_episodes: int,
    seed: int,
) -> Found:
    """The symmetry of a game by several methods.

    Args:
        key: what the game is called.
        game: any.
        policy: (h, nu) -> [S, A]; plays the trajectories.
        played: what to call it.
        methods: of ``METHODS``; None for the most exact that the game allows, and trajectories.
        n_episodes: of the trajectories.
        seed: of all draws.

    Raises:
        UserError: an unknown method, or one that the game does not allow.
    """
    wanted = default_methods(game) if methods is None else methods
    for method in wanted:
        if method not in (*METHODS, "best"):
            raise UserError(f"--method={method}: choose of {', '.join(METHODS)}, separated by commas")
    if TRAJECTORIES in wanted:
        require_episodes(n_episodes, game)
    constants = tuple(constants_by(method, game, seed) for method in wanted if method != TRAJECTORIES)
    measured, unmeasured = None, ""
    if TRAJECTORIES in wanted:
        try:
            measured = play_and_measure(game, policy, n_episodes=n_episodes, seed=seed)
        except UserError as error:
            if methods is not None or not constants:  # trajectories were what was asked for
                raise
            unmeasured = str(error)
    return Found(key, game, constants, measured, unmeasured, played)


WHY_NUMBERED = {
    "enumeration": "enumerates populations of numbered local states",
    "kernels": "samples tables of numbered local states",
    TRAJECTORIES: "compares agents who stand in the same numbered local state",
}


def measure_packed(key: str, game: Game, *, methods: Sequence[str] | None) -> Found:
    """The symmetry of a game whose local states are too many to be numbered: what it declares.

    Raises:
        UserError: any method but the closed form, or constants that are not known.
    """
    for method in methods or ():
        if method in WHY_NUMBERED:
            raise UserError(
                f"--method={method}: it {WHY_NUMBERED[method]}, and those of {key} are too many; "
                "--method=closed-form is what it allows"
            )
        if method not in ("closed-form", "best"):
            raise UserError(f"--method={method}: choose of {', '.join(METHODS)}, separated by commas")
    return Found(key, game, (declared_symmetry(game),), None, "", "")


def require_episodes(n_episodes: int, game: PopulationGame) -> None:
    """Refuse a number of episodes that says nothing, or that no machine holds.

    Raises:
        UserError: naming the number that would do.
    """
    if n_episodes < FEWEST_EPISODES:
        raise UserError(f"--episodes={n_episodes}: at least {FEWEST_EPISODES} are needed")
    at_most = MOST_AGENT_STEPS // (game.n_agents * game.horizon)
    if n_episodes > at_most:
        raise UserError(
            f"--episodes={n_episodes}: with {game.n_agents} agents and {game.horizon} steps, "
            f"{at_most} can be held at once; take fewer"
        )


def default_methods(game: PopulationGame) -> list[str]:
    """The most exact method that the game allows, and trajectories."""
    return ["best", TRAJECTORIES] if game.has_tables else [TRAJECTORIES]


def constants_by(method: str, game: PopulationGame, seed: int) -> Symmetry:
    """The constants by one method, about the induced game in which policies are scored."""
    if method == "best":
        return best_known(game, seed=seed)
    if method == "closed-form":
        return declared_symmetry(game)
    model = game.mean_field_model()
    if method == "enumeration":
        return enumerated_symmetry(game, induced=model)
    return sampled_symmetry(game, seed=seed, induced=model)


def as_text(found: Found) -> str:
    """The report to read."""
    lines = [title(found.key, found.game), *units(found.game), ""]
    if found.constants:
        lines += [*symmetry_lines(found.constants), ""]
    if found.measured is not None:
        lines += [*trajectory_lines(found.measured, found.game.state_names, found.played), ""]
    if found.unmeasured:
        lines += [f"nothing from trajectories: {found.unmeasured}", ""]
    if found.contradictions:
        lines += [*found.contradictions, ""]
    if found.firmest is None:
        lines.append("no certificate: trajectories tell of what was visited alone")
    else:
        bound = certificate_of(found.firmest, found.game)
        lines += certificate_lines(found.firmest, bound, horizon=found.game.horizon)
    return "\n".join(lines)


def as_json(found: Found) -> dict[str, Any]:
    """The report as plain values; what the data does not tell is null."""
    game, firmest = found.game, found.firmest
    return {
        "game": found.key,
        "n_agents": game.n_agents,
        "horizon": game.horizon,
        "n_states": game.n_states or game.n_packed,
        "n_actions": game.n_actions,
        "population": game.population,
        "constants": [symmetry_values(symmetry) for symmetry in found.constants],
        "trajectories": None if found.measured is None else {"policy": found.played, **plain(found.measured)},
        "trajectories_missing": found.unmeasured,
        "contradictions": found.contradictions,
        "certificate": firmest and certificate_values(firmest, certificate_of(firmest, game)),
    }


def plain(value: Any) -> Any:
    """Named tuples as mappings and tensors as lists, NaN and infinities as None."""
    if isinstance(value, Tensor):
        return plain(value.tolist())
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(part) for name, part in value._asdict().items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
