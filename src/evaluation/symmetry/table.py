"""Symmetry and certificate as aligned text and as plain values."""

from collections.abc import Sequence
from typing import Any

from ...functional.bounds import Certificate, certificate
from ...games import Game
from .record import Constant, Symmetry
from .text import aligned

SYMBOLS = {
    "alpha": "alpha",
    "beta": "beta",
    "lipschitz_transition": "L_P",
    "lipschitz_reward": "L_R",
    "lipschitz_population": "L_pop",
}
SOURCES = {
    "sampling": "sampling, 1/sqrt(n)",
    "exchange": "exchange, 2 L_P/n",
    "alpha": "alpha",
    "beta": "beta",
}


def units(game: Game) -> list[str]:
    """The units of a game that scales its rewards into [0, 1]; nothing for any other."""
    factor = game.reward_factor
    return [] if factor == 1.0 else [f"rewards scaled into [0, 1]: the published game's times {factor:.4g}"]


def title(key: str, game: Game) -> str:
    """'a_sis: N = 1000, H = 20, S = 2, A = 2, population others'."""
    n_states = game.n_states or game.n_packed
    counted = f"S = {n_states:,}" if game.n_packed else f"S = {n_states or 'unknown'}"
    sizes = f"N = {game.n_agents}, H = {game.horizon}, {counted}, A = {game.n_actions}"
    return f"{key}: {sizes}, population {game.population}"


def symmetry_lines(found: Sequence[Symmetry]) -> list[str]:
    """The five constants, a column for each method, then what each looked at."""
    rows = [["", *(symmetry.method for symmetry in found)]]
    for name, symbol in SYMBOLS.items():
        rows.append([symbol, *(_told(getattr(symmetry, name)) for symmetry in found)])
    answers = {True: "yes", False: "no", None: "not known"}
    rows.append(["monotone extendable", *(answers[symmetry.monotone] for symmetry in found)])
    lines = list(aligned(rows))
    for symmetry in found:
        lines.append(f"{symmetry.method}: {symmetry.looked_at}")
        lines += [f"  {SYMBOLS[name]}: {c.where}" for name, c in symmetry.constants().items() if c.where]
        if symmetry.monotone_note:
            lines.append(f"  monotone: {symmetry.monotone_note}")
    return lines


def certificate_of(symmetry: Symmetry, game: Game) -> Certificate:
    """What the constants promise of every policy in this game."""
    return certificate(
        alpha=symmetry.alpha.value,
        beta=symmetry.beta.value,
        lipschitz_transition=symmetry.lipschitz_transition.value,
        lipschitz_reward=symmetry.lipschitz_reward.value,
        lipschitz_population=symmetry.lipschitz_population.value,
        n_agents=game.n_agents,
        n_cells=n_cells(game),
        horizon=game.horizon,
    )


def n_cells(game: Game) -> int:
    """S A; of a game whose local states nobody counted so many that sampling tells nothing of the others."""
    n_states = game.n_states or game.n_packed
    return 4 * game.n_agents if n_states is None else n_states * game.n_actions


def certificate_lines(
    symmetry: Symmetry, bound: Certificate, *, horizon: int, exploitability: float | None = None
) -> list[str]:
    """The certificate term by term.

    Args:
        symmetry: the constants it rests on; unless all are exact, upper bounds or declared it is called an
            estimate.
        bound: the certificate.
        horizon: H, above which it says nothing.
        exploitability: E(pi) of the policy it is about; None for an equilibrium of the induced game.
    """
    gap = bound.nash_gap(exploitability or 0.0)
    rows = [[f"  {SOURCES[source]}", f"{2 * part:.4g}"] for source, part in bound.terms._asdict().items()]
    rows.append(["  2 B", f"{2 * bound.bound:.4g}"])
    if exploitability is not None:
        rows.append(["  E(pi)", f"{exploitability:.4g}"])
    rows.append(["  E(pi) + 2 B" if exploitability is not None else "  at an equilibrium", f"{gap:.4g}"])
    verdict = (
        f"vacuous: no one can gain more than H = {horizon}"
        if bound.vacuous(exploitability or 0.0)
        else f"of at most H = {horizon}"
    )
    rows[-1].append(verdict)
    head = f"{_name(symmetry)}constants by {symmetry.method}, by source:"
    return [head, *aligned(rows)]


def certificate_values(symmetry: Symmetry, bound: Certificate, exploitability: float = 0.0) -> dict[str, Any]:
    """The certificate as plain values, at an equilibrium of the induced game unless E(pi) is given."""
    return {
        "kind": _kind(symmetry),
        "method": symmetry.method,
        "mean_field_exploitability": exploitability,
        "bound": bound.bound,
        "terms": bound.terms._asdict(),
        "nash_gap": bound.nash_gap(exploitability),
        "vacuous": bound.vacuous(exploitability),
    }


def symmetry_values(symmetry: Symmetry) -> dict[str, Any]:
    """One method's constants as plain values."""
    return {
        "method": symmetry.method,
        **{name: constant._asdict() for name, constant in symmetry.constants().items()},
        "monotone": symmetry.monotone,
        "monotone_note": symmetry.monotone_note,
        "looked_at": symmetry.looked_at,
    }


def _kind(symmetry: Symmetry) -> str:
    """What the promise is, by what it rests on."""
    if not symmetry.certifies:
        return "estimate"
    return "certificate if the declared constants hold" if symmetry.hearsay else "certificate"


def _name(symmetry: Symmetry) -> str:
    if not symmetry.certifies:
        return "estimate of E(pi) + 2 B, no certificate: "
    condition = ", if the declared constants hold," if symmetry.hearsay else ""
    return f"certificate{condition} max_i E^i <= E(pi) + 2 B, "


def _told(constant: Constant) -> str:
    return f"{constant.value:.4g} ({constant.kind})"
