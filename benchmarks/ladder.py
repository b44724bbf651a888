"""The rungs of the identity ladder (Yardim & He 2025, Sec. 6), and the seconds of their epochs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from timing import Parts, alternate
from training import Training

PLAIN = ("embedding_dim=0",)
ALL = ("learn_agents=0",)
BASE = "Symm-NN"
REFERENCE = "Ind-NN"


class Rung(NamedTuple):
    """One configuration of PPO.

    Attributes:
        name: the paper's.
        algorithm: a name that ``--config`` takes.
        words: its changes.
    """

    name: str
    algorithm: str
    words: tuple[str, ...]


LADDER = (
    Rung("Symm-NN", "mf_ppo", PLAIN),
    Rung("OH-NN", "mf_ppo_oh", PLAIN),
    Rung("ID-NN", "mf_ppo_id", PLAIN),
    Rung(REFERENCE, "mf_ppo_ind", PLAIN),
    Rung("Symm-NN, deep set", "mf_ppo", ("embedding_dim=16",)),
    Rung("Symm-NN, learns from all", "mf_ppo", (*PLAIN, *ALL)),
    Rung("OH-NN, learns from all", "mf_ppo_oh", (*PLAIN, *ALL)),
    Rung("ID-NN, learns from all", "mf_ppo_id", (*PLAIN, *ALL)),
)
TIMED = LADDER[:6]  # by `make bench`: of the rungs that learn from all, one tells what it costs


def epochs_in_turn(
    rungs: Sequence[Rung],
    game: str,
    *,
    agents: int,
    device: str,
    rounds: int,
    words: Sequence[str] = (),
) -> dict[str, list[Parts]]:
    """Play and learn an epoch of every rung, round after round in this process; the first is to warm up.

    Args:
        rungs: to be timed.
        game: a name that ``--env-config`` takes.
        agents: N.
        device: ``cpu``, on one thread, or ``cuda``.
        rounds: that count.
        words: further changes, for all.

    Returns:
        By rung, the seconds of every round's epoch: ``total``, and ``learning`` of it.
    """
    contestants: dict[str, Callable[[], Parts]] = {
        rung.name: partial(
            Training(
                rung.algorithm, game, agents=agents, threads=1, device=device, words=(*rung.words, *words)
            ).epochs,
            1,
        )
        for rung in rungs
    }
    return alternate(contestants, rounds)
