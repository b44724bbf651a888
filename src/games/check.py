"""What is wrong with a population game: its sampler against its tables, and its conduct."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..errors import UserError
from .base import PopulationGame
from .checking import packed
from .checking.conduct import check_batch, check_global_randomness, check_inputs, check_memory, check_seed
from .checking.constants import check_constants
from .checking.laws import check_initial_law, check_laws, check_others, check_rewards
from .checking.packed import PackedSubject
from .checking.sizes import check_device, check_outputs, check_personal, check_sizes, check_tables
from .checking.subject import NotApplicable, Subject, Wrong
from .game import Game

MOST_STEPS = 6  # of a game whose kernels depend on the step

AnySubject = Subject | PackedSubject
FIRST: dict[str, Callable[[Subject], str]] = {
    "sizes": check_sizes,
    "personal": check_personal,
    "outputs": check_outputs,
    "device": check_device,
    "inputs": check_inputs,
    "tables": check_tables,
}
SECOND: dict[str, Callable[[Subject], str]] = {
    "initial law": check_initial_law,
    "laws": check_laws,
    "rewards": check_rewards,
    "others": check_others,
    "batch": check_batch,
    "memory": check_memory,
    "seed": check_seed,
    "global randomness": check_global_randomness,
    "constants": check_constants,
}


class Finding(NamedTuple):
    """Attributes:
    check: what was looked at.
    passed: None where it does not apply to the game, or could not be tried.
    message: what was found.
    """

    check: str
    passed: bool | None
    message: str


@dataclass(frozen=True)
class Report:
    """What `check_game` found.

    Attributes:
        game: what was checked.
        findings: one a check, in a fixed order.
    """

    game: str
    findings: tuple[Finding, ...]

    @property
    def failures(self) -> list[Finding]:
        """The checks that the game does not pass."""
        return [finding for finding in self.findings if finding.passed is False]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong; a check that does not apply is not wrong."""
        return not self.failures

    def raise_if_failed(self) -> None:
        """Raise a UserError that names everything that is wrong, if anything is."""
        if not self.passed:
            wrong = "; ".join(f"{finding.check}: {finding.message}" for finding in self.failures)
            raise UserError(f"{self.game} is not a sound population game: {wrong}")

    def __str__(self) -> str:
        marks = {True: "ok", False: "WRONG", None: "-"}
        rows = [f"  {marks[f.passed]:<6}{f.check:<18} {f.message}" for f in self.findings]
        return "\n".join([self.game, *rows])


def check_game(game: Game, *, draws: int = 50_000, level: float = 1e-6, seed: int = 0) -> Report:
    """Tell an author what is wrong with a game.

    The sampler is held against the tables by chi-square: in every cell, for every type of agent, at
    populations of several kinds, with rho^-i counted agent by agent here. Rewards must equal the table's to
    rounding. The rest is conduct: seeds, devices, memory, batches, inputs that stay as they are. An agent's
    own share of the population is 1 / N, so check a small N (5, say) beside the one you play.
    A game whose local states are too many to be numbered has no tables: its sizes, its views (places, parts,
    features) and its conduct are checked in the states that episodes of random actions visit.
    The game is left as it was. Of a ``time_dependent`` game every check is made at up to six steps, the first
    and the last among them.

    Args:
        game: to be checked; one without tables is checked for what can be told without.
        draws: next states drawn at each population; more finds smaller faults.
        level: probability with which a sound game fails one of the statistical checks.
        seed: of the populations tried, and of the game's generator during the check.

    Raises:
        UserError: it is no game, or a class where the game itself is needed.
    """
    _require_game(game)
    name = f"{type(game).__name__} with {game.n_agents} agents"
    before = game.generator.get_state()
    try:
        game.generator.manual_seed(seed)
        by_step = [list(_findings(subject_of(game, draws, level, seed, h))) for h in steps_looked_at(game)]
    finally:
        game.generator.set_state(before)
    return Report(name, tuple(_worst(found) for found in zip(*by_step, strict=True)))


def subject_of(game: Game, draws: int, level: float, seed: int, h: int) -> AnySubject:
    """What the checks of this kind of game take."""
    kind = Subject if isinstance(game, PopulationGame) else PackedSubject
    return kind(game, draws, level, seed, h)  # type: ignore[arg-type]


def checks_of(subject: AnySubject) -> tuple[dict[str, Callable[..., str]], dict[str, Callable[..., str]]]:
    """The checks that come first and, where these are passed, second."""
    return (FIRST, SECOND) if isinstance(subject, Subject) else (packed.FIRST, packed.SECOND)


def steps_looked_at(game: Game) -> list[int]:
    """Step 0 where the kernels are the same at all; else up to six, evenly from the first to the last."""
    if not game.time_dependent:
        return [0]
    apart = torch.linspace(0, game.horizon - 1, min(MOST_STEPS, game.horizon))
    return [int(h) for h in apart.round()]


def _worst(found: tuple[Finding, ...]) -> Finding:
    """Of one check's findings at several steps, the first that failed, else the last."""
    return next((finding for finding in found if finding.passed is False), found[-1])


def require_sound(game: Game, key: str) -> None:
    """Refuse a game of an author's own that fails one of the checks that take no draws (milliseconds).

    The game is left as it was.

    Raises:
        UserError: what is wrong, and where to look further.
    """
    before = game.generator.get_state()
    subjects = [subject_of(game, draws=0, level=0.0, seed=0, h=h) for h in steps_looked_at(game)]
    findings = [_run(name, check, each) for each in subjects for name, check in checks_of(each)[0].items()]
    game.generator.set_state(before)
    wrong = [f"{finding.check}: {finding.message}" for finding in findings if finding.passed is False]
    if wrong:
        raise UserError(f"env_args.key={key}: no sound game, {wrong[0]}; mf_pmd.games.check_game tells more")


def _require_game(game: object) -> None:
    if not isinstance(game, Game):
        what = f"the class {game.__name__}" if isinstance(game, type) else f"of type {type(game).__name__}"
        raise UserError(
            f"game is {what}: check_game needs a population game, such as `make('a_sis', n_agents=5)` or an "
            "object of your own class"
        )


def _findings(subject: AnySubject) -> Iterator[Finding]:
    """Run every check; those of the second list make no sense where one of the first fails."""
    sound = True
    first, second = checks_of(subject)
    for name, check in first.items():
        finding = _run(name, check, subject)
        sound = sound and finding.passed is not False
        yield finding
    for name, check in second.items():
        yield _run(name, check, subject) if sound else Finding(name, None, "not tried, see above")


def _run(name: str, check: Callable[..., str], subject: AnySubject) -> Finding:
    where = f"at step {subject.h}: " if subject.game.time_dependent else ""
    try:
        return Finding(name, True, check(subject))
    except Wrong as wrong:
        return Finding(name, False, where + str(wrong))
    except NotApplicable as reason:
        return Finding(name, None, str(reason))
    except Exception as error:  # whatever an author's code raises is a finding
        return Finding(name, False, f"{where}raised {type(error).__name__}: {error}")
