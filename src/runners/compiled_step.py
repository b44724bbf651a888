"""Actions and the game's step as one compiled function of what was drawn for both."""

import shutil
import subprocess
from collections.abc import Callable
from os import environ
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.sampling import actions_drawn
from ..games import Game, advances

COMPILERS = ("g++", "clang++", "c++")
NO_COMPILER = "population.compile=True: found no C++ compiler that works (%s), so that steps are not compiled"
NOT_COMPILED = "population.compile=True: torch cannot compile the step of this game (%s), so that it is not"
PATIENCE = 60.0  # seconds that an empty library may take


class Played(NamedTuple):
    """Attributes:
    actions: [B, N], the type of the game's states.
    next_states: [B, N], likewise.
    rewards: [B, N] float32.
    """

    actions: Tensor
    next_states: Tensor
    rewards: Tensor


class CompiledStep:
    """Draws everyone's action from thresholds and advances the game, fused by ``torch.compile``.

    Random numbers are drawn outside, in the order of the plain step, and handed in: it plays what the plain
    step plays. On CUDA it is captured in CUDA graphs. Where nothing can be compiled the same function runs as
    it is, after one warning. The first step is played as it is, too: what a game keeps of its tables from its
    first step on is then there, and nothing is compiled twice.

    Args:
        game: one that ``advances``, with kernels that do not depend on the step.
        warn: of a logger, takes a format and its values.

    Raises:
        UserError: a game whose step is no function of its draws.
    """

    def __init__(self, game: Game, warn: Callable[..., None]) -> None:
        if not advances(game) or game.time_dependent:
            raise UserError(
                f"population.compile=True: {type(game).__name__} is not stepped by one function of what is "
                "drawn, set population.compile=False"
            )
        self.game, self.warn = game, warn
        self.state_type = game.state_type
        self._function: Callable[..., Played] = self.plain
        self._played = False
        self._compiles = has_compiler()
        if self._compiles:
            mode = "reduce-overhead" if game.device.type == "cuda" else None
            self._function = torch.compile(self.plain, dynamic=False, mode=mode)
        else:
            warn(NO_COMPILER, environ.get("CXX") or ", ".join(COMPILERS))

    def __call__(self, h: int, thresholds: Tensor, rows: Tensor, states: Tensor, counts: Tensor) -> Played:
        """One step of all agents.

        Args:
            h: which step it is; not read.
            thresholds: of the policy's rows, [B or 1, R, A - 1].
            rows: of every agent, [B, N], integers.
            states: [B, N] ``state_type``.
            counts: of the agents over the places, [B, K] int64.
        """
        action_draws = torch.rand(states.shape, device=states.device)  # torch's generator, as samplers do
        if rows.is_cuda:  # a graph keeps room for its inputs, strides and all: here of a column of all steps
            rows = rows.contiguous()
        inputs = (thresholds, rows, states, counts, action_draws, self.game.draws(len(states)))
        if not self._compiles or not self._played:
            self._played = True
            return self.plain(*inputs)
        try:
            return Played(*(value.clone() if value.is_cuda else value for value in self._function(*inputs)))
        except (
            torch._dynamo.exc.TorchDynamoException,
            torch._inductor.exc.InvalidCxxCompiler,
            torch._inductor.exc.CppCompileError,
        ) as error:
            self._compiles = False
            self.warn(NOT_COMPILED, str(error).strip().split("\n")[0])
            return self.plain(*inputs)

    def plain(
        self,
        thresholds: Tensor,
        rows: Tensor,
        states: Tensor,
        counts: Tensor,
        action_draws: Tensor,
        draws: Tensor,
    ) -> Played:
        """The function that is compiled."""
        actions = actions_drawn(thresholds, rows, action_draws, dtype=self.state_type)
        step = self.game.advance(states, actions, counts, draws)
        return Played(actions, step.next_states, step.rewards)


def has_compiler() -> bool:
    """Whether torch would find a C++ compiler that works: the one that CXX names, or one that it knows."""
    named = environ.get("CXX")
    return any(compiles(name) for name in ((named,) if named else COMPILERS))


def compiles(compiler: str) -> bool:
    """Whether a program makes a shared library of C++, tried on an empty one."""
    if shutil.which(compiler) is None:
        return False
    with TemporaryDirectory() as folder:
        library = Path(folder) / "empty.so"
        command = [compiler, "-x", "c++", "-shared", "-fPIC", "-o", str(library), "-"]
        try:
            subprocess.run(command, input=b"", capture_output=True, check=True, timeout=PATIENCE)
        except (OSError, subprocess.SubprocessError):
            return False
        return library.is_file()  # there are programs that do nothing, and well
