"""Sizes, shapes, dtypes and devices: without these in order nothing else can be checked."""

from typing import Protocol

import torch
from torch import Tensor

from ..base import PopulationGame, Table
from ..game import Game
from .subject import TOLERANCE, Subject, distributions, need_tables, require


class HasGame(Protocol):
    """A subject of any game."""

    @property
    def game(self) -> Game: ...


def check_sizes(subject: Subject) -> str:
    game = subject.game
    for name in ("n_agents", "n_states", "n_actions", "horizon"):
        value = getattr(game, name)
        require(isinstance(value, int) and value >= 1, f"{name} = {value!r} is no whole number from 1 on")
    law = game.initial_law
    require(law.shape == (game.n_states,), f"initial_law has shape {list(law.shape)}, not [{game.n_states}]")
    sums = abs(law.double().sum().item() - 1) < 1e-9
    require(bool((law >= 0).all()) and sums, f"initial_law is no distribution: {law.tolist()}")
    names = len(game.state_names)
    require(names in (0, game.n_states), f"{names} state_names for {game.n_states} states")
    return f"{game.n_states} states, {game.n_actions} actions, {game.horizon} steps"


def check_personal(subject: HasGame) -> str:
    personal, n_agents = subject.game.personal, subject.game.n_agents
    shape = list(personal.shape)
    require(shape == [n_agents], f"u has shape {shape}, not [{n_agents}]")
    require(personal.dtype == torch.float32, f"u is {personal.dtype}, not torch.float32")
    require(bool(personal.isfinite().all()), "u holds values that are not finite")
    distinct = len(torch.unique(personal))
    return f"{distinct} types, u from {personal.min().item():g} to {personal.max().item():g}"


def check_outputs(subject: Subject) -> str:
    game = subject.game
    states = game.reset(3)
    _check_states("reset", states, 3, game)
    cells = subject.random_cells(3)
    step = subject.step(cells)
    _check_states("step", step.next_states, 3, game)
    rewards = step.rewards
    require(
        list(rewards.shape) == [3, game.n_agents],
        f"rewards have shape {list(rewards.shape)}, not [3, {game.n_agents}]",
    )
    require(rewards.dtype == torch.float32, f"rewards are {rewards.dtype}, not torch.float32")
    return "states are int64 and rewards float32, [B, N]"


def _check_states(name: str, states: Tensor, batch_size: int, game: PopulationGame) -> None:
    shape = [batch_size, game.n_agents]
    require(list(states.shape) == shape, f"{name} gives states of shape {list(states.shape)}, not {shape}")
    require(states.dtype == torch.int64, f"{name} gives states of {states.dtype}, not torch.int64")
    if states.device.type != "meta":
        low, high = states.min().item(), states.max().item()
        inside = low >= 0 and high < game.n_states
        require(inside, f"{name} gives states from {low} to {high}, there are {game.n_states}")


def check_device(subject: Subject) -> str:
    game, states = subject.game, subject.game.reset(1)
    step = game.step_at(subject.h, states, torch.zeros_like(states))
    held = {
        "initial_law": game.initial_law,
        "personal": game.personal,
        "what reset returns": states,
        "next_states": step.next_states,
        "rewards": step.rewards,
    }
    if game.has_tables:
        mu = game.initial_law.new_full((game.n_states, game.n_actions), 1 / subject.n_cells)
        zero = mu.new_zeros(())
        held |= {
            "transition_table": game.transition_at(subject.steps, mu, zero),
            "reward_table": game.reward_at(subject.steps, mu, zero),
        }
    for name, value in held.items():
        same = value.device.type == game.device.type
        require(same, f"{name} is on {value.device}, the game on {game.device}")
    return f"everything is on {game.device}"


def check_tables(subject: Subject) -> str:
    """Rows are distributions, rewards lie in [0, 1], and batches give what single calls give."""
    game = subject.game
    need_tables(game)
    mu = distributions(subject, 12).reshape(12, game.n_states, game.n_actions)
    cells = (game.n_states, game.n_actions)
    for u in [*subject.types.double(), torch.zeros((), dtype=torch.float64, device=game.device)]:
        for name, end, table in (
            ("transition_table", (*cells, game.n_states), game.transition_at),
            ("reward_table", cells, game.reward_at),
        ):
            one, many = table(subject.steps, mu[0], u), table(subject.steps, mu, u)
            require(one.shape == end, f"{name} has shape {list(one.shape)}, not {list(end)}")
            require(one.dtype == mu.dtype, f"{name} is {one.dtype} for a mu of {mu.dtype}")
            finite = bool(one.isfinite().all() & many.isfinite().all())  # first: NaN differs from itself
            require(finite, f"{name} holds values that are not finite at u = {u:g}")
            alike = (many.expand(12, *end)[0] - one).abs().max().item() < 1e-9
            require(alike, f"{name} of a batch of populations differs from that of each alone")
            require(bool((many >= -1e-9).all()), f"{name} is negative")
            if name == "transition_table":
                error = (many.sum(-1) - 1).abs().max().item()
                require(error < 1e-9, f"rows of transition_table sum to 1 but for {error:.2g} at u = {u:g}")
            else:
                largest = many.max().item()
                require(largest <= 1 + 1e-9, f"reward_table reaches {largest:g} at u = {u:g}, beyond 1")
    personal = subject.types[:1].double().expand(3, 1)
    wide = game.transition_at(subject.steps, mu[:4], personal)
    wide = wide.expand(3, 4, *cells, game.n_states)  # raises where batch axes do not broadcast
    alone = game.transition_at(subject.steps, mu[3], subject.types[0].double())
    require((wide[2, 3] - alone).abs().max().item() < 1e-9, "mu and u do not broadcast")
    if game.time_dependent:
        _check_steps(subject, mu[:2])
    _check_declared(subject, mu)
    return "distributions, and rewards in [0, 1], at 12 populations"


def _check_declared(subject: Subject, mu: Tensor) -> None:
    """A law that is declared to read nothing reads nothing, and a local one nothing but its own site."""
    game, zero = subject.game, mu.new_zeros(())
    if game.fixed_transition:
        laws = [game.transition_at(torch.tensor(h).to(mu.device), mu, zero) for h in {0, subject.h}]
        apart = max((law - laws[0][:1]).abs().max().item() for law in laws)
        require(apart < 1e-9, f"fixed_transition, but rows of transition_table move by {apart:.2g}")
    declared = {"local_transition": game.transition_at, "local_reward": game.reward_at}
    for name, table in declared.items():
        if getattr(game, name):
            s, apart = _reads_elsewhere(subject, table, mu)
            what = f"{name}, but that of state {s} moves by {apart:.2g} with others"
            require(apart < TOLERANCE, what)


def _reads_elsewhere(subject: Subject, table: Table, mu: Tensor) -> tuple[int, float]:
    """The state whose row moves most with what is not the share on its own site, and by how much."""
    game, zero = subject.game, mu.new_zeros(())
    sites = torch.arange(game.n_states).to(mu.device) if game.sites is None else game.sites
    require(sites.shape == (game.n_states,), f"sites have shape {list(sites.shape)}, not [{game.n_states}]")
    here, crowd = table(subject.steps, mu[0], zero), 3 * mu.flip(-2).roll(1, 0)[1]
    moves: list[tuple[float, int]] = []
    for site in sites.unique():
        there = (sites == site).nonzero().squeeze(1)
        for elsewhere in (crowd, torch.zeros_like(crowd)):
            measure = elsewhere.clone()
            measure[there] = mu[0, there].sum() / (len(there) * game.n_actions)
            off = (table(subject.steps, measure, zero)[there] - here[there]).abs().flatten(1).amax(1)
            moves.append((off.max().item(), int(there[int(off.argmax())])))
    apart, s = max(moves)
    return s, apart


def _check_steps(subject: Subject, mu: Tensor) -> None:
    """Tables of many steps at once, [2, 1] populations by [H'] steps, are those of each step alone."""
    game, zero = subject.game, mu.new_zeros(())
    steps = torch.arange(min(game.horizon, 6), device=mu.device) + max(0, subject.h - 5)
    for name, table in (("transition_table", game.transition_at), ("reward_table", game.reward_at)):
        many = table(steps, mu.unsqueeze(1), zero)
        for k, h in enumerate(steps):
            alone = table(h, mu, zero)
            many_k = many.expand(2, len(steps), *alone.shape[1:])[:, k]  # raises where axes do not broadcast
            error = (many_k - alone).abs().max().item()
            require(error < 1e-9, f"{name} of many steps differs from that of step {h} alone by {error:.2g}")
