"""Environments of MFGLib as games of N agents."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.counting import Conditional, conditional
from ..functional.shapes import common_shape
from .base import require
from .constants import SymmetryConstants
from .mfglib_environments import ENVIRONMENTS, Bounds, Known, reward_bounds
from .mfglib_kernels import Kernel, fastest, vectorised
from .table_game import TableGame

FLOAT32 = 1e-4  # relative widening of the derived slopes, for kernels that are rounded
ENTRIES_AT_ONCE = 2**22  # of the tables that one call of a kernel makes


class MFGLibGame(TableGame):
    """Any ``mfglib.env.Environment``, played by N agents who are all alike.

    States and actions of several axes are numbered in order. MFGLib's t = 0 .. T are the steps: H = T + 1,
    and what its last transition leads to is not seen. Agent i meets L = sigma(rho), itself counted in
    (``population="all"``), or sigma(rho^-i). Kernels are MFGLib's own, float32, of which laws are divided by
    their sum in float64; rewards are factor r + offset, so that they fill [0, 1].

    Every kernel is called for a batch of populations at once where ``torch.vmap`` can follow it, which is
    found out on construction by holding the two against each other.

    Args:
        environment: an ``mfglib.env.Environment``.
        n_agents: N >= 2.
        bounds: of its rewards, at all steps, cells and populations.
        known: how its kernels read the population; nothing is assumed if it is left out.
        constants: in rewards scaled to [0, 1], where they are known.
        population, device, seed: see PopulationGame.

    Raises:
        UserError: bounds that are no interval, and what PopulationGame raises.
    """

    def __init__(
        self,
        environment: Any,
        *,
        n_agents: int,
        bounds: Bounds,
        known: Known | None = None,
        constants: SymmetryConstants | None = None,
        population: str = "all",
        device: str | torch.device = "cpu",
        seed: int = 0,
    ) -> None:
        if not (math.isfinite(bounds.low) and bounds.low <= bounds.high < math.inf):
            raise UserError(f"bounds={tuple(bounds)}: no finite interval to scale rewards by")
        self.environment, self.bounds = environment, bounds
        self.fixed_transition = known is not None and known.fixed_transition
        self.time_dependent = known is None or known.time_dependent
        self.local_reward = known is not None and known.local_reward
        self.reward_factor = 1 / (bounds.high - bounds.low) if bounds.high > bounds.low else 1.0
        self.reward_offset = -bounds.low * self.reward_factor
        self._axes = tuple(environment.S)
        self._batch_of_populations = (-1, *self._axes, *environment.A)
        self._lay_out_map(strip=known is not None and known.strip)
        start = environment.mu0.flatten().double()
        super().__init__(
            n_agents=n_agents,
            n_states=environment.n_states,
            n_actions=environment.n_actions,
            horizon=environment.T + 1,
            initial_law=start / start.sum(),
            constants=constants,
            population=population,
            personal=torch.zeros(1).expand(n_agents),
            device=device,
            seed=seed,
        )
        self._law_kernel = self._fastest(environment.prob, known and known.law)
        self._reward_kernel = self._fastest(environment.reward, known and known.reward)
        self._law: Tensor | None = None  # [S, A, S] of a fixed transition
        if self.fixed_transition:
            cells = (self.n_states, self.n_actions)
            even = torch.full(cells, 1 / math.prod(cells), device=self.device)
            self._law = self._laws(even, torch.tensor(0))

    def transition_table(self, mu: Tensor, personal: Tensor, steps: Tensor | int = 0) -> Tensor:
        steps = as_step(steps)
        if self._law is None:
            return self._laws(mu, steps).to(mu.dtype)
        batch = common_shape(mu.shape[:-2], steps.shape)
        return self._law.to(mu.dtype).expand(*batch, *self._law.shape)

    def own_laws(self, counts: Tensor, personal: Tensor, steps: Tensor) -> Tensor:
        """As a PopulationGame's, by fewer operations where all agents meet the same.

        Counted games ask for it at every step, and of few states it takes longer to start operations than to
        do them.
        """
        if self._law is not None or not self._all_meet_the_same(counts, personal, steps):
            return super().own_laws(counts, personal, steps)
        laws = self._laws_of_everyone(counts).transpose(-1, -2)
        return laws / laws.sum(-1, keepdim=True)

    def own_conditional(self, counts: Tensor, personal: Tensor, steps: Tensor) -> Conditional:
        """Likewise; laws are normalised in being prepared."""
        if self._law is not None or not self._all_meet_the_same(counts, personal, steps):
            return super().own_conditional(counts, personal, steps)
        return conditional(self._laws_of_everyone(counts), dim=-2)

    def own_rewards(self, counts: Tensor, personal: Tensor, steps: Tensor) -> Tensor:
        """Likewise."""
        if not self._all_meet_the_same(counts, personal, steps):
            return super().own_rewards(counts, personal, steps)
        rewards = self._reward_kernel(0, self._met_by_everyone(counts)).reshape(counts.shape)
        return self._scaled(rewards.double().to(counts.device))

    def _all_meet_the_same(self, counts: Tensor, personal: Tensor, steps: Tensor) -> bool:
        """Whether agents in all cells meet one population, under kernels that read no step."""
        if self.time_dependent or self.population != "all":
            return False
        batch = counts.shape[:-1]
        at_once = math.prod(batch) * self.n_states**2 * self.n_actions <= ENTRIES_AT_ONCE
        return at_once and common_shape(batch, personal.shape, steps.shape) == batch

    def _met_by_everyone(self, counts: Tensor) -> Tensor:
        """The counts of all agents [..., C] as MFGLib's kernels take them, float32 on the CPU."""
        return (counts / self.n_agents).float().cpu().reshape(self._batch_of_populations)

    def _laws_of_everyone(self, counts: Tensor) -> Tensor:
        """What the kernel gives at the counts of all agents [..., C]: [..., S', C] float64."""
        laws = self._law_kernel(0, self._met_by_everyone(counts))
        laws = laws.double().reshape(*counts.shape[:-1], self.n_states, counts.shape[-1])
        return laws.to(counts.device)

    def _scaled(self, rewards: Tensor) -> Tensor:
        return self.reward_factor * (rewards - self.bounds.low)

    def reward_table(self, mu: Tensor, personal: Tensor, steps: Tensor | int = 0) -> Tensor:
        table = (self.n_states, self.n_actions)
        rewards = self._evaluate(self._reward_kernel, mu, as_step(steps), table=table)
        return self._scaled(rewards).to(mu.dtype).to(mu.device)

    def _lay_out_map(self, *, strip: bool) -> None:
        """A map of the states where they have two or three axes, or one that is a ``strip``."""
        if not (strip or len(self._axes) in (2, 3)):
            return
        floors, rows, columns = (1, 1, *self._axes)[-3:]
        self.map_shape = (rows, floors * columns)
        if floors > 1:
            self.map_regions = (tuple(column // columns for column in range(floors * columns)),) * rows

    def on_map(self, population: Tensor) -> Tensor:
        """A grid of two axes is the map; of three, floors, rows and columns, the floors lie side by side."""
        if len(self._axes) != 3 or self.map_shape is None:
            return super().on_map(population)
        return population.unflatten(-1, self._axes).movedim(-3, -2).flatten(-2)

    def _laws(self, mu: Tensor, steps: Tensor) -> Tensor:
        """P [..., S, A, S] float64."""
        table = (self.n_states, self.n_states, self.n_actions)
        laws = self._evaluate(self._law_kernel, mu, steps, table=table)
        laws = laws.movedim(-3, -1)  # MFGLib's next states come first
        return (laws / laws.sum(-1, keepdim=True)).to(mu.device)

    def _evaluate(self, kernel: Kernel, mu: Tensor, steps: Tensor, *, table: tuple[int, ...]) -> Tensor:
        """The kernel at every population and step, on the CPU: [..., *table] float64."""
        batch = common_shape(mu.shape[:-2], steps.shape) if self.time_dependent else mu.shape[:-2]
        populations = mu.cpu().float()
        if mu.shape[:-2] != batch:
            populations = populations.expand(*batch, *mu.shape[-2:])
        populations = populations.reshape(self._batch_of_populations)
        at_once = max(1, ENTRIES_AT_ONCE // math.prod(table))
        if (steps.dim() == 0 or not self.time_dependent) and len(populations) <= at_once:
            t = int(steps) if self.time_dependent else 0
            return kernel(t, populations).double().reshape(*batch, *table)
        steps = steps.cpu() if self.time_dependent else torch.tensor(0)
        clock = steps.expand(batch).flatten()  # [K]
        out = torch.empty(len(populations), *table, dtype=torch.float64)
        for t in clock.unique().tolist():
            at = (clock == t).nonzero().squeeze(1)
            for part in at.split(at_once):
                out[part] = kernel(t, populations[part]).double().reshape(len(part), *table)
        return out.reshape(*batch, *table)

    def _fastest(self, kernel: Kernel, own: Callable[[Any], Kernel] | None) -> Kernel:
        """A batched form of a kernel, held against the kernel itself at a few populations and steps."""
        random = torch.Generator().manual_seed(0)
        weights = torch.rand(3, self.n_states * self.n_actions, generator=random)
        weights[0, 1:] = 0.0  # a corner, where logarithms are largest
        shape = (*self.environment.S, *self.environment.A)
        populations = (weights / weights.sum(1, keepdim=True)).reshape(3, *shape)
        steps = sorted({0, min(1, self.horizon - 1), self.horizon - 1})
        candidates = [vectorised(kernel)] if own is None else [own(self.environment), vectorised(kernel)]
        return fastest(kernel, candidates, steps, populations)


def as_step(steps: Tensor | int) -> Tensor:
    """A step, or several, as a tensor."""
    return steps if isinstance(steps, Tensor) else torch.tensor(steps)


def make_mfglib(
    key: str,
    /,
    *,
    n_agents: int,
    population: str,
    knobs: dict[str, Any],
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> MFGLibGame:
    """One of MFGLib's ten environments as a game.

    alpha = beta = 0: all agents are alike. The Lipschitz constants are derived (``mfglib_environments``);
    linear_quadratic has none, for its law jumps where a rounding does, and no constants are told.

    Args:
        key: a name in ``ENVIRONMENTS``, MFGLib's own.
        n_agents: N >= 2.
        population: ``others`` | ``all``.
        knobs: of the environment; None for MFGLib's default.
        device, seed: see PopulationGame.

    Raises:
        UserError: MFGLib is not installed; a knob that the environment has not, or a value it refuses.
    """
    known = ENVIRONMENTS[key]
    environment = make_environment(key, knobs)
    bounds = reward_bounds(environment, known, vectorised(environment.reward))
    slopes = known.slopes(environment)
    constants = None
    if math.isfinite(slopes.transition):
        width = bounds.high - bounds.low
        law = slopes.transition * (1 + FLOAT32)
        constants = SymmetryConstants(
            alpha=0.0,
            beta=0.0,
            lipschitz_transition=law,
            lipschitz_reward=slopes.reward * (1 + FLOAT32) / width if width > 0 else 0.0,
            lipschitz_population=law + 1.0,  # two rows differ by at most 2
            monotone=slopes.monotone,
        )
    return MFGLibGame(
        environment,
        n_agents=n_agents,
        bounds=bounds,
        known=known,
        constants=constants,
        population=population,
        device=device,
        seed=seed,
    )


def make_environment(key: str, knobs: dict[str, Any]) -> Any:
    """An ``mfglib.env.Environment``; torch's global generator, which some of them seed, stays as it was.

    Raises:
        UserError: as ``make_mfglib``.
    """
    try:
        from mfglib.env import Environment
    except ImportError as error:
        raise UserError(
            f"env_args.key={key}: MFGLib is not installed ({error}); pip install 'mf-pmd[mfglib]'"
        ) from error
    build = getattr(Environment, key)
    parameters = inspect.signature(build).parameters
    given = {}
    for name, value in knobs.items():
        if value is None:
            continue
        if name not in parameters:
            raise UserError(
                f"env_args.knobs.{name}={value}: {key} has no such knob, it has {', '.join(parameters)}"
            )
        given[name] = _as_asked(name, value, parameters[name].default)
    _require_ranges(ENVIRONMENTS[key], given)
    try:
        with torch.random.fork_rng(devices=[]):
            environment = build(**given)
            shape, states = tuple(environment.mu0.shape), tuple(environment.S)
    except Exception as error:
        told = ", ".join(f"{name}={value}" for name, value in given.items())
        raise UserError(f"env_args.knobs: {key} with {told}: {error}") from error
    require(shape == states, "knobs.mu0", knobs.get("mu0"), f"states are {list(states)}, not {list(shape)}")
    require(bool((environment.mu0 >= 0).all()), "knobs.mu0", knobs.get("mu0"), "no share may be negative")
    require(environment.T >= 0, "knobs.T", environment.T, "the last step is 0 or later")
    return environment


def _as_asked(name: str, value: Any, default: Any) -> Any:
    """A knob's value in the type of MFGLib's default: number, tuple of numbers, or a law as a tensor.

    Raises:
        UserError: another type.
    """
    if default == "uniform":
        require(
            isinstance(value, list), f"knobs.{name}", value, "a list, nested as the states are, is needed"
        )
        return torch.tensor(value, dtype=torch.float32)
    if isinstance(default, tuple):
        numbers = isinstance(value, (list, tuple)) and all(_is_number(entry) for entry in value)
        require(numbers, f"knobs.{name}", value, f"a list of numbers such as {list(default)} is needed")
        return tuple(float(entry) for entry in value)
    wanted = "a whole number" if isinstance(default, int) else "a number"
    fits = _is_number(value) and (not isinstance(default, int) or value == int(value))
    require(fits, f"knobs.{name}", value, f"{wanted} is needed (the default is {default})")
    return type(default)(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _require_ranges(known: Known, given: dict[str, Any]) -> None:
    """Refuse knobs at which bounds and constants would not hold."""
    for name, value in given.items():
        least = min(value, default=0.0) if isinstance(value, tuple) else value
        if name in known.positive:
            require(least > 0, f"knobs.{name}", value, "must be positive")
        if name in known.not_negative:
            require(least >= 0, f"knobs.{name}", value, "must not be negative")
        if name == "p_still":
            require(0 <= least <= 1, f"knobs.{name}", value, "is a probability")
