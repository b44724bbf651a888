"""What every game of a population is: N agents, batched, on one device; local states of any kind."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.counting import MOST_COUNTED
from ..functional.integers import smallest_integer
from .constants import SymmetryConstants, counting_itself

MOST_AGENTS = 10**8  # a single tensor [N] of any dtype then still fits the memory of a machine
LONGEST_HORIZON = 10**6
POPULATIONS = ("others", "all")
_COUNTED: ContextVar[bool] = ContextVar("counted", default=False)


class Step(NamedTuple):
    """Attributes:
    next_states: [B, N] int64; of ``Game.advance``, the type that the states came in.
    rewards: individual rewards in [0, 1], [B, N] float32.
    """

    next_states: Tensor
    rewards: Tensor


class Game(ABC):
    """A finite-horizon game of N agents (Yardim & He 2025, Def. 1), whose local states may be many.

    B independent episodes of N agents advance together. A local state is one int64, numbered
    (``PopulationGame``, whose states are few enough for tables) or packed. Its *place* is the part of it by
    which agents meet: the kernels depend on the others through the distribution of their places alone. What
    networks are shown of a local state are its *parts*, a few numbers that a batch of episodes stores, and
    the *features* made of them when they are asked for.

    Agent i differs from the others by its personal parameter u_i alone; the induced game is u = 0.

    Attributes:
        n_places: K, places in which agents meet.
        n_states: S, where local states are numbered; None where they are too many.
        n_packed: how many local states there are where they are packed; None if nobody counted them.
        n_parts, n_features: P and F, numbers that ``parts`` and ``features`` give of one agent.
        has_tables: whether the game gives its kernels for every cell, so that it can be solved exactly.
        time_dependent: whether the kernels depend on the step h = 0 .. H - 1.
        map_shape: rows and columns of the map that ``on_map`` draws places on; None if they form none.
        map_regions: region of every tile of it, by its number; pictures outline them. Empty for none.
        state_names: what to call the places in pictures; empty where their number says it.
        action_names: what to call the actions in pictures; likewise.
        reward_factor, reward_offset: the rewards are factor times those of the game as it was published,
            plus the offset.
        random_rewards: whether a reward is drawn given states and actions (a fare on arrival, say); its
            mean is then what R(s, a, mu, u) stands for.
        personal: u [N] float32; of a game made ``for_counting`` those of its types alone, [G], ascending.
        type_sizes: agents of each of those types, [G] float64; None where agents are followed one by one.
        constants: closed-form alpha, beta and Lipschitz constants for the ``population`` asked for, or None.

    Args:
        n_agents: N >= 2.
        n_actions: A.
        n_places: K.
        horizon: H >= 1, environment steps.
        constants: closed-form constants for ``population="others"``; None where they are not known.
        population: ``others`` | ``all``; whether an agent meets the others or everyone, itself
            included, which adds 2 L_P / N to alpha and 2 L_R / N to beta.
        personal: u [N]; None for +1 in the first half and -1 in the rest.
        device: where everything lives.
        seed: of the game's own generator; same seed, same device, same trajectory.

    Raises:
        UserError: sizes out of range, or an unknown ``population``.
    """

    n_states: int | None = None
    n_packed: int | None = None
    n_parts: int
    n_features: int
    has_tables: bool = False
    time_dependent: bool = False
    map_shape: tuple[int, int] | None = None
    map_regions: tuple[tuple[int, ...], ...] = ()
    state_names: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    reward_factor: float = 1.0
    reward_offset: float = 0.0
    random_rewards: bool = False
    type_sizes: Tensor | None = None

    def __init__(
        self,
        *,
        n_agents: int,
        n_actions: int,
        n_places: int,
        horizon: int,
        constants: SymmetryConstants | None = None,
        population: str = "others",
        personal: Tensor | None = None,
        device: str | torch.device = "cpu",
        seed: int = 0,
    ) -> None:
        require(n_agents >= 2, "n_agents", n_agents, "a game needs at least 2 agents")
        counted = _COUNTED.get()
        if counted:
            require(n_agents <= MOST_COUNTED, "n_agents", n_agents, f"counts are exact to {MOST_COUNTED:,}")
        else:
            remedy = f"at most {MOST_AGENTS:,} agents are followed; take fewer, or train with runner=counts"
            require(n_agents <= MOST_AGENTS, "n_agents", n_agents, remedy)
        require(horizon >= 1, "horizon", horizon, "an episode needs at least 1 step")
        require(horizon <= LONGEST_HORIZON, "horizon", horizon, f"at most {LONGEST_HORIZON:,} steps")
        require(population in POPULATIONS, "population", population, f"choose {' or '.join(POPULATIONS)}")
        sizes = None
        if counted:
            personal, sizes = types_of(n_agents, personal)
        else:
            personal = half_and_half(n_agents) if personal is None else personal.float().contiguous()
            require_length(personal, n_agents)
        self.n_agents = n_agents
        self.n_actions = n_actions
        self.n_places = n_places
        self.horizon = horizon
        self.population = population
        self.constants = constants if population == "others" else counting_itself(constants, n_agents)
        self.device = torch.device(device)
        self.personal = personal.to(self.device)  # [N], or [G] of a counted game
        self.type_sizes = None if sizes is None else sizes.to(self.device)
        self.generator = torch.Generator(device=self.device)
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Start the game's own stream anew, apart from the one that ``torch.manual_seed(seed)`` starts.

        Hosts seed torch's global generator, from which policies draw, with the same number. Were the two
        streams one, an agent's action would be a function of the draw that put it where it is.
        """
        apart = torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(seed))
        self.generator.manual_seed(int(apart))

    @property
    def state_type(self) -> torch.dtype:
        """A small integer type for states, with room for S + A: a move from the last state is no overflow."""
        if self.n_states is None:
            return torch.int64
        return smallest_integer(self.n_states + self.n_actions + 1)

    def uniforms(self, batch_size: int) -> Tensor:
        """Uniform draws in [0, 1) for every agent of every episode, [B, N] float32.

        Raises:
            UserError: a game made ``for_counting``, whose agents nobody follows.
        """
        if self.type_sizes is not None:
            raise UserError(f"{type(self).__name__} was made for counting: its agents are not followed")
        return torch.rand(batch_size, self.n_agents, generator=self.generator, device=self.device)

    @abstractmethod
    def reset(self, batch_size: int) -> Tensor:
        """Draw initial local states independently; returns [B, N] int64."""

    @abstractmethod
    def step(self, states: Tensor, actions: Tensor, h: int = 0) -> Step:
        """Advance all agents of all episodes by one environment step.

        Args:
            states: [B, N] int64.
            actions: [B, N] int64.
            h: which step it is; matters where the kernels are ``time_dependent``.
        """

    def step_at(self, h: int, states: Tensor, actions: Tensor) -> Step:
        """``step`` for whoever plays a game without knowing whether it looks at the clock.

        A ``step`` of an author's own need not take h where the kernels do not depend on it.
        """
        return self.step(states, actions, h) if self.time_dependent else self.step(states, actions)

    def draws(self, batch_size: int) -> Tensor:
        """All that one step draws, uniform in [0, 1): here one number an agent, [B, N] float32."""
        return self.uniforms(batch_size)

    def advance(self, states: Tensor, actions: Tensor, counts: Tensor, draws: Tensor, h: int = 0) -> Step:
        """``step`` as a function of its draws and of how many agents are where, which whoever plays knows.

        Equal to ``step``, bit for bit. It draws nothing and waits for no device, so that it can be compiled,
        and works in the type that the states come in. Optional; see ``advances``.

        Args:
            states: [B, N], ``state_type`` or larger.
            actions: [B, N], likewise.
            counts: of the agents over the places, [B, K] int64.
            draws: what ``draws`` gave.
            h: which step it is.
        """
        raise NotImplementedError

    @abstractmethod
    def places(self, states: Tensor) -> Tensor:
        """Where agents meet: states [...] int64 -> 0 .. K - 1, [...] int64."""

    @abstractmethod
    def parts(self, states: Tensor) -> Tensor:
        """The numbers that make a local state: [...] int64 -> [..., P] float32, which holds them exactly."""

    @abstractmethod
    def features(self, parts: Tensor, population: Tensor, progress: Tensor) -> Tensor:
        """What a network is shown of agents in these local states; never an index or a personal parameter.

        Args:
            parts: [..., N, P].
            population: distribution of all agents over the places, [..., K].
            progress: h / H, [...].

        Returns:
            [..., N, F] float32.
        """

    def on_map(self, population: Tensor) -> Tensor:
        """Shares of the agents on the tiles of the map: over the places [..., K] -> [..., rows, columns].

        Raises:
            UserError: the places form no map.
        """
        if self.map_shape is None:
            raise UserError(f"{type(self).__name__} has no map: where its agents are is in population.png")
        return population.unflatten(-1, self.map_shape)  # places are the tiles, row by row

    def tallies(self, states: Tensor, actions: Tensor, next_states: Tensor) -> dict[str, Tensor]:
        """Which agents of a step pictures count over time, besides where they are: name -> [B, N] bool.

        Args:
            states, actions, next_states: of one step, [B, N] int64 each.
        """
        return {}


STEPPING = (
    "step",
    "step_at",
    "sample_step",
    "uniforms",
    "draws",
    "places",
    "state_distribution_met",
    "distribution_met",
)


def advances(game: object) -> bool:
    """Whether ``advance`` may stand for ``step``: nobody changed what a step is after it was defined.

    Neither a subclass nor the instance, whose own attributes come last. Whatever stands in for a game and is
    none is asked for steps: what it hands on, and to whom, cannot be told from outside.
    """
    if not isinstance(game, Game):
        return False
    own = vars(game)
    if any(name in own for name in ("advance", *STEPPING)):
        return "advance" in own
    owners = {name: _owner(type(game), name) for name in ("advance", *STEPPING)}
    last = owners.pop("advance")
    return last is not Game and all(issubclass(last, owner) for owner in owners.values())


def _owner(kind: type, name: str) -> type:
    """The class whose definition of an attribute counts; ``object`` if there is none."""
    return next((base for base in kind.__mro__ if name in vars(base)), object)


def half_and_half(n_agents: int) -> Tensor:
    """Personal parameters: the first half +1, the rest -1; for odd N the last agent has 0. [N] float32."""
    half = n_agents // 2
    personal = torch.ones(n_agents)
    personal[half:] = -1.0
    if n_agents % 2:
        personal[-1] = 0.0
    return personal


@contextmanager
def for_counting() -> Iterator[None]:
    """Games made within the block hold their types and how many agents each has, and nothing of size N.

    ``personal`` is then u of the types [G]; whatever a game computes of it, agent by agent, it computes type
    by type. Its tables are what they were, and know N; ``step`` and ``reset`` are not to be called.
    """
    before = _COUNTED.set(True)
    try:
        yield
    finally:
        _COUNTED.reset(before)


def types_of(n_agents: int, personal: Tensor | None) -> tuple[Tensor, Tensor]:
    """Personal parameters that differ, ascending, and how many agents have each: [G] and [G] float64.

    Args:
        n_agents: N.
        personal: u [N]; None for ``half_and_half``, of which nothing of size N is made.

    Raises:
        UserError: u of another length, or a number of agents that is none.
    """
    require(isinstance(n_agents, int), "n_agents", n_agents, "write a whole number, digit by digit")
    if personal is None:
        half, odd = divmod(n_agents, 2)
        sizes = [half, 1, half] if odd else [half, half]
        return half_and_half(2 + odd).sort().values, torch.tensor(sizes, dtype=torch.float64)
    require_length(personal, n_agents)
    if personal.stride(0) == 0:  # one number, seen N times
        return personal[:1].float(), torch.tensor([n_agents], dtype=torch.float64)
    types, sizes = torch.unique(personal.float(), return_counts=True)
    return types, sizes.double()


def require_length(personal: Tensor, n_agents: int) -> None:
    """Raise a UserError unless there is one personal parameter for each agent."""
    require(personal.shape == (n_agents,), "n_agents", n_agents, f"u has shape {list(personal.shape)}")


def require(condition: bool, key: str, value: object, remedy: str) -> None:
    """Raise a UserError that names the key of ``env_args``, its value and the remedy, unless it holds."""
    if not condition:
        raise UserError(f"env_args.{key}={value}: {remedy}")


def require_between(key: str, value: float, low: float, high: float) -> None:
    """Raise a UserError unless low <= value <= high (NaN is refused)."""
    require(low <= value <= high, key, value, f"must lie between {low:g} and {high:g}")
