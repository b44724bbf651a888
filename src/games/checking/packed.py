"""Checks of a game whose local states are too many to be numbered: its sizes, its views and its conduct.

There are no tables to hold it against, so that the laws it draws from are its author's to test; what is
looked at are states that episodes of random actions visit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...errors import UserError
from ...functional.distributions import count_values
from ...functional.goodness_of_fit import same_law
from ..game import Game, Step
from .conduct import BINS, global_states
from .sizes import check_personal
from .subject import AGENTS_AT_ONCE, LONGEST_EPISODE, TOLERANCE, NotApplicable, require

EPISODES = 2  # of a batch that is played
SNAPSHOTS = 4  # joint states of an episode from which many steps are drawn


@dataclass
class PackedSubject:
    """A game under examination that is no ``PopulationGame``.

    Attributes:
        game, draws, level, seed: see `check_game`.
        h: the step that is looked at.
        random: of the check's own choices, on the CPU.
    """

    game: Game
    draws: int
    level: float
    seed: int
    h: int = 0
    random: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = torch.Generator().manual_seed(self.seed)

    def actions(self, states: Tensor) -> Tensor:
        """Uniform actions of the check's own, the shape of states."""
        drawn = torch.randint(self.game.n_actions, states.shape, generator=self.random)
        return drawn.to(self.game.device)

    def play(self) -> tuple[Tensor, Tensor, Tensor]:
        """Episodes of random actions: states [L + 1, B, N], actions and rewards [L, B, N]."""
        self.random.manual_seed(self.seed)
        states, actions, rewards = [self.game.reset(EPISODES)], [], []
        for h in range(min(self.game.horizon, LONGEST_EPISODE)):
            actions.append(self.actions(states[-1]))
            step = self.game.step_at(h, states[-1], actions[-1])
            states.append(step.next_states)
            rewards.append(step.rewards)
        return torch.stack(states), torch.stack(actions), torch.stack(rewards)

    def snapshots(self) -> tuple[Tensor, Tensor]:
        """Joint states and actions of single episodes, evenly from the first step to the last, [Q, N]."""
        states, actions, _ = self.play()
        at = torch.linspace(0, len(actions) - 1, min(SNAPSHOTS, len(actions))).round().long()
        return states[at, 0], actions[at, 0]


def check_sizes(subject: PackedSubject) -> str:
    game = subject.game
    for name in ("n_agents", "n_actions", "n_places", "n_parts", "n_features", "horizon"):
        value = getattr(game, name, None)
        require(isinstance(value, int) and value >= 1, f"{name} = {value!r} is no whole number from 1 on")
    require(not game.has_tables, "has_tables is for a PopulationGame, whose local states are numbered")
    for name, most in (("state_names", game.n_places), ("action_names", game.n_actions)):
        given = len(getattr(game, name))
        require(given in (0, most), f"{given} {name} for {most}")
    return f"{game.n_places} places, {game.n_actions} actions, {game.horizon} steps"


def check_outputs(subject: PackedSubject) -> str:
    game, shape = subject.game, [3, subject.game.n_agents]
    states = game.reset(3)
    require_like("reset gives states", states, shape, torch.int64)
    step = game.step_at(subject.h, states, subject.actions(states))
    require_like("step gives states", step.next_states, shape, torch.int64)
    require_like("step gives rewards", step.rewards, shape, torch.float32)
    rewards = subject.play()[2]
    require(bool(rewards.isfinite().all()), "rewards that are not finite were paid")
    low, high = rewards.min().item(), rewards.max().item()
    inside = low >= -TOLERANCE and high <= 1 + TOLERANCE
    require(inside, f"rewards from {low:g} to {high:g} were paid, not in [0, 1]")
    return f"states are int64 and rewards float32, [B, N]; rewards from {low:.3g} to {high:.3g}"


def require_like(what: str, value: Tensor, shape: list[int], dtype: torch.dtype) -> None:
    """Raise `Wrong` unless a tensor has this shape and type."""
    require(list(value.shape) == shape, f"{what} of shape {list(value.shape)}, not {shape}")
    require(value.dtype == dtype, f"{what} of {value.dtype}, not {dtype}")


def check_device(subject: PackedSubject) -> str:
    game, states = subject.game, subject.game.reset(1)
    step = game.step_at(subject.h, states, torch.zeros_like(states))
    held = {
        "personal": game.personal,
        "what reset returns": states,
        "next_states": step.next_states,
        "rewards": step.rewards,
        "what places returns": game.places(states),
        "what parts returns": game.parts(states),
    }
    for name, value in held.items():
        same = value.device.type == game.device.type
        require(same, f"{name} is on {value.device}, the game on {game.device}")
    return f"everything is on {game.device}"


def check_places(subject: PackedSubject) -> str:
    game, states = subject.game, subject.play()[0]
    places = game.places(states)
    require_like("places", places, list(states.shape), torch.int64)
    low, high = places.min().item(), places.max().item()
    require(low >= 0 and high < game.n_places, f"places from {low} to {high}, there are {game.n_places}")
    if game.map_shape is None:
        return f"{len(places.unique())} of {game.n_places} were visited"
    population = torch.ones(3, game.n_places, device=game.device) / game.n_places
    try:
        shown = game.on_map(population)
    except (UserError, RuntimeError) as error:
        shape = list(game.map_shape)
        require(False, f"{game.n_places} places do not lie on a map of {shape}: define on_map ({error})")
    require_like("on_map", shown, [3, *game.map_shape], torch.float32)
    total = shown.sum((1, 2))
    require(bool((total - 1).abs().max() < TOLERANCE), "on_map loses or makes agents")
    return f"{len(places.unique())} of {game.n_places} were visited; a map of {list(game.map_shape)}"


def check_parts(subject: PackedSubject) -> str:
    """Exact, and different for different states: float32 holds no integer beyond 2^24 exactly."""
    game, states = subject.game, subject.play()[0]
    parts = game.parts(states)
    require_like("parts", parts, [*states.shape, game.n_parts], torch.float32)
    require(bool(parts.isfinite().all()), "parts hold values that are not finite")
    distinct, index = states.reshape(-1).unique(return_inverse=True)
    rows, of_row = parts.reshape(-1, game.n_parts).unique(dim=0, return_inverse=True)
    first = torch.zeros(len(rows), dtype=torch.int64, device=rows.device).scatter_(0, of_row, index)
    same = (first[of_row] == index).all()
    require(bool(same), f"{len(distinct)} local states have {len(rows)} parts: some differ and look alike")
    alone = game.parts(states[-1, 0])
    require(bool(torch.equal(alone, parts[-1, 0])), "parts of a batch differ from those of each alone")
    require(len(rows) == len(distinct), "the same local state has different parts")
    return f"{len(distinct)} local states, told apart"


def check_features(subject: PackedSubject) -> str:
    """Of an agent's parts, the population and the clock alone, whichever agents are asked for."""
    game, states = subject.game, subject.play()[0][-1]
    population = count_values(game.places(states), game.n_places) / game.n_agents  # [B, K]
    progress = torch.tensor([0.0, 0.5], device=game.device)
    parts = game.parts(states)
    shown = game.features(parts, population, progress)
    require_like("features", shown, [EPISODES, game.n_agents, game.n_features], torch.float32)
    require(bool(shown.isfinite().all()), "features hold values that are not finite")
    order = torch.randperm(game.n_agents, generator=subject.random).to(game.device)
    some = order[: max(1, game.n_agents // 2)]
    views = {
        "of agents in another order": (game.features(parts[:, order], population, progress), shown[:, order]),
        "of some agents": (game.features(parts[:, some], population, progress), shown[:, some]),
        "of one episode": (game.features(parts[1], population[1], progress[1]), shown[1]),
        "with one more axis": (game.features(parts[None], population[None], progress[None]), shown[None]),
    }
    for what, (found, expected) in views.items():
        shape = f"features {what} have shape {list(found.shape)}, not {list(expected.shape)}"
        require(found.shape == expected.shape, shape)
        require(torch.allclose(found, expected, atol=1e-6), f"features {what} differ from those of all")
    return f"{game.n_features} numbers, none of them an index"


def check_inputs(subject: PackedSubject) -> str:
    """What the game is given stays as it was, and so does what it has returned."""
    game = subject.game
    states = game.reset(EPISODES)
    actions = subject.actions(states)
    held: dict[str, Tensor] = {"states": states, "actions": actions, "personal": game.personal}
    kept = {name: value.clone() for name, value in held.items()}
    step = game.step_at(subject.h, states, actions)
    held |= {"next_states": step.next_states, "rewards": step.rewards}
    kept |= {name: held[name].clone() for name in ("next_states", "rewards")}
    game.step_at(subject.h, step.next_states, actions)
    parts = game.parts(step.next_states)
    population = count_values(game.places(step.next_states), game.n_places) / game.n_agents
    held |= {"parts": parts, "population": population}
    kept |= {"parts": parts.clone(), "population": population.clone()}
    game.features(parts, population, torch.zeros(EPISODES, device=game.device))
    game.reset(EPISODES)
    changed = [name for name, value in held.items() if not torch.equal(value, kept[name])]
    require(not changed, f"{', '.join(changed)} changed in place")
    return "stay as they are"


def check_batch(subject: PackedSubject) -> str:
    """Episodes of a batch do not touch each other."""
    states, actions = subject.snapshots()
    if not subject.game.random_rewards:
        pairs = zip(states, actions, strict=True)
        together = subject.game.step_at(subject.h, states, actions).rewards
        single = [subject.game.step_at(subject.h, s[None], a[None]).rewards for s, a in pairs]
        error = (together - torch.cat(single)).abs().max().item()
        require(error <= TOLERANCE, f"an episode pays {error:.2g} more or less in a batch than alone")
    mixed, alone = (_counts(subject, states, actions, mixed=mixed) for mixed in (True, False))
    p, paid = (same_law(*counts).item() for counts in zip(mixed, alone, strict=True))
    require(p > subject.level, f"an episode moves otherwise in a batch than alone (p = {p:.1g})")
    require(paid > subject.level, f"an episode pays otherwise in a batch than alone (p = {paid:.1g})")
    return f"episodes are independent, p = {min(p, paid):.2g}"


def _counts(subject: PackedSubject, states: Tensor, actions: Tensor, *, mixed: bool) -> tuple[Tensor, Tensor]:
    """Places [Q K A, K] and rewards [.., BINS] drawn from joint states, by snapshot, place and action."""
    game = subject.game
    n_groups = game.n_places * game.n_actions
    group = game.places(states) * game.n_actions + actions  # [Q, N]
    group = group + torch.arange(len(states), device=group.device).unsqueeze(1) * n_groups
    repeats = max(20, -(-subject.draws // (len(states) * game.n_agents)))
    at_once = max(1, AGENTS_AT_ONCE // (len(states) * game.n_agents))
    sizes = {"places": game.n_places, "rewards": BINS}
    total = {n: torch.zeros(len(states) * n_groups * size).to(group.device) for n, size in sizes.items()}
    for start in range(0, repeats, at_once):
        now = min(at_once, repeats - start)
        step = _steps(subject, states, actions, now, mixed=mixed)
        bins = (step.rewards * BINS).long().clamp(0, BINS - 1)
        for name, values in (("places", game.places(step.next_states)), ("rewards", bins)):
            key = group.repeat(now, 1) * sizes[name] + values
            total[name] += count_values(key.reshape(1, -1), len(total[name]))[0]
    return total["places"].unflatten(0, (-1, game.n_places)), total["rewards"].unflatten(0, (-1, BINS))


def _steps(subject: PackedSubject, states: Tensor, actions: Tensor, n: int, *, mixed: bool) -> Step:
    """n steps from each of Q joint states, [n Q, N]: all in one batch, or each by itself."""
    game, h = subject.game, subject.h
    if mixed:
        return game.step_at(h, states.repeat(n, 1), actions.repeat(n, 1))
    each = [
        game.step_at(h, s.repeat(n, 1), a.repeat(n, 1)) for s, a in zip(states, actions, strict=True)
    ]  # [n, N]
    return Step(*(torch.stack(parts, 1).flatten(0, 1) for parts in zip(*each, strict=True)))


def check_memory(subject: PackedSubject) -> str:
    """A step depends on states, actions and luck alone, not on what was played before."""
    game = subject.game
    states, actions = subject.snapshots()
    luck = game.generator.get_state()
    first = game.step_at(subject.h, states, actions)
    subject.play()
    game.generator.set_state(luck)
    second = game.step_at(subject.h, states, actions)
    error = (first.rewards - second.rewards).abs().max().item()
    require(error <= TOLERANCE, f"the same agents get {error:.2g} more or less after an episode was played")
    same = torch.equal(first.next_states, second.next_states)
    require(same, "with the same luck agents move otherwise after an episode was played")
    return "the past is forgotten"


def check_seed(subject: PackedSubject) -> str:
    """Same seed, same trajectory; another seed, another."""
    played = []
    for seed in (1, 1, 2, 3):
        subject.game.generator.manual_seed(seed)
        played.append(subject.play())
    same = all(torch.equal(a, b) for a, b in zip(played[0], played[1], strict=True))
    require(same, "two episodes with the same seed of game.generator differ")
    if not any(not torch.equal(played[0][0], other[0]) for other in played[2:]):
        raise NotApplicable("nothing is random, or game.generator is not what is drawn from")
    return "same seed, same episode; another seed, another"


def check_global_randomness(subject: PackedSubject) -> str:
    before = global_states()
    subject.play()
    game, states = subject.game, subject.game.reset(1)
    population = count_values(game.places(states), game.n_places) / game.n_agents
    game.features(game.parts(states), population, population.new_zeros(1))
    after = global_states()
    moved = [name for name in before if before[name] != after[name]]
    require(not moved, f"draws from the global generator of {' and '.join(moved)}, not from game.generator")
    return "none is drawn from"


FIRST: dict[str, Callable[[PackedSubject], str]] = {
    "sizes": check_sizes,
    "personal": check_personal,
    "outputs": check_outputs,
    "device": check_device,
    "places": check_places,
    "parts": check_parts,
    "features": check_features,
    "inputs": check_inputs,
}
SECOND: dict[str, Callable[[PackedSubject], str]] = {
    "batch": check_batch,
    "memory": check_memory,
    "seed": check_seed,
    "global randomness": check_global_randomness,
}
