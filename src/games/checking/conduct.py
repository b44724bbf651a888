"""How a game behaves: batches, memory, seeds, other people's generators, its inputs."""

import pickle
import random

import numpy as np
import torch
from torch import Tensor

from ...functional.goodness_of_fit import same_law
from ..base import PopulationGame, Step
from .subject import AGENTS_AT_ONCE, TOLERANCE, NotApplicable, Subject, distributions, require

BINS = 8  # of rewards that are compared in law


def check_batch(subject: Subject) -> str:
    """Episodes of a batch do not touch each other."""
    if not subject.game.random_rewards:
        together = subject.step(subject.profiles).rewards
        alone = torch.cat([subject.step(profile.unsqueeze(0)).rewards for profile in subject.profiles])
        error = (together - alone).abs().max().item()
        require(error <= TOLERANCE, f"an episode pays {error:.2g} more or less in a batch than alone")
    batches, single = _drawn_counts(subject, mixed=True), _drawn_counts(subject, mixed=False)
    p, paid = (same_law(*counts).item() for counts in zip(batches, single, strict=True))
    require(p > subject.level, f"an episode moves otherwise in a batch than alone (p = {p:.1g})")
    require(paid > subject.level, f"an episode pays otherwise in a batch than alone (p = {paid:.1g})")
    return f"episodes are independent, p = {p:.2g}"


def check_memory(subject: Subject) -> str:
    """A step depends on states and actions alone, not on what was played before."""
    before = subject.game.generator.get_state()
    first = subject.step(subject.profiles).rewards
    subject.play()
    subject.game.generator.set_state(before)  # so that luck is the same
    second = subject.step(subject.profiles).rewards
    error = (first - second).abs().max().item()
    require(error <= TOLERANCE, f"the same cells pay {error:.2g} more or less after an episode was played")
    earlier = _drawn_counts(subject, mixed=True)[0]
    subject.play()
    p = same_law(earlier, _drawn_counts(subject, mixed=True)[0]).item()
    require(p > subject.level, f"agents move otherwise after an episode was played (p = {p:.1g})")
    return f"the past is forgotten, p = {p:.2g}"


def _drawn_counts(subject: Subject, *, mixed: bool) -> tuple[Tensor, Tensor]:
    """Next states [K, S] and rewards [K, BINS] drawn at the last four profiles by type and cell.

    Each profile alone if not mixed.
    """
    game = subject.game
    profiles = subject.profiles[-4:]
    repeats = max(20, -(-subject.draws // (4 * game.n_agents)))
    moved: Tensor | int = 0
    paid: Tensor | int = 0
    at_once = max(1, AGENTS_AT_ONCE // (4 * game.n_agents))
    for start in range(0, repeats, at_once):
        now = min(at_once, repeats - start)
        if mixed:
            drawn = subject.step(profiles.repeat(now, 1))
        else:
            each = [subject.step(profile.expand(now, -1)) for profile in profiles]
            drawn = Step(*(torch.stack(parts, 1).flatten(0, 1) for parts in zip(*each, strict=True)))
        moved = moved + subject.count_next(profiles, drawn.next_states)
        bins = (drawn.rewards * BINS).long().clamp(0, BINS - 1)
        paid = paid + subject.count(profiles, bins, BINS)
    assert isinstance(moved, Tensor)
    assert isinstance(paid, Tensor)
    return moved.flatten(0, 2), paid.flatten(0, 2)


def check_seed(subject: Subject) -> str:
    """Same seed, same trajectory; another seed, another."""
    game, played = subject.game, []
    for seed in (1, 1, 2, 3):
        game.generator.manual_seed(seed)
        played.append(subject.play())
    same = all(torch.equal(a, b) for a, b in zip(played[0], played[1], strict=True))
    require(same, "two episodes with the same seed of game.generator differ")
    differ = any(not torch.equal(played[0][0], other[0]) for other in played[2:])
    certain = _is_deterministic(subject)
    if certain is None and not differ:
        raise NotApplicable("nothing is random, or game.generator is not what is drawn from")
    require(differ or bool(certain), "episodes with different seeds of game.generator are the same")
    return "same seed, same episode" + (" (nothing is random)" if certain else "; another seed, another")


def _is_deterministic(subject: Subject) -> bool | None:
    """Whether the tables leave nothing to chance; None where there are none."""
    game = subject.game
    if not game.has_tables:
        return None
    law, _ = subject.tables(distributions(subject, 12), game.initial_law.new_zeros(12))
    return bool(law.max(-1).values.min() > 1 - 1e-9) and bool(game.initial_law.max() > 1 - 1e-9)


def check_global_randomness(subject: Subject) -> str:
    before = global_states()
    subject.play()
    after = global_states()
    moved = [name for name in before if before[name] != after[name]]
    require(not moved, f"draws from the global generator of {' and '.join(moved)}, not from game.generator")
    return "none is drawn from"


def global_states() -> dict[str, object]:
    """States of the generators that belong to everybody, comparable."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": pickle.dumps(numpy_state),
        "random": random.getstate(),
    }


def check_inputs(subject: Subject) -> str:
    """What the game is given, and what it is made of, stays as it was."""
    game, cells = subject.game, subject.profiles
    held: dict[str, Tensor] = {
        "states": cells // game.n_actions,
        "actions": cells % game.n_actions,
        "personal": game.personal,
        "initial_law": game.initial_law,
    }
    if game.has_tables:
        held["mu"] = distributions(subject, 3).reshape(3, game.n_states, game.n_actions)
        held["u"] = subject.types.double()[:1].clone()
    if type(game).step is PopulationGame.step:
        held["others"] = game.state_distribution_met(held["states"])
    kept = {name: value.clone() for name, value in held.items()}
    game.step_at(subject.h, held["states"], held["actions"])
    if "others" in held:
        clock = [subject.h] if game.time_dependent else []
        game.sample_step(held["states"], held["actions"], held["others"], *clock)
    if game.has_tables:
        game.transition_at(subject.steps, held["mu"], held["u"])
        game.reward_at(subject.steps, held["mu"], held["u"])
    changed = [name for name, value in held.items() if not torch.equal(value, kept[name])]
    require(not changed, f"{', '.join(changed)} changed in place")
    return "stay as they are"
