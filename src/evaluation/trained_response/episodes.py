"""Episodes in which some agents deviate, all N of them simulated."""

from typing import NamedTuple

import torch
from torch import Tensor

from ...games import Game
from ..checkpoint import AnyPolicy
from ..playing import Choose, Rows, act_by, at_random
from .deviators import Deviators, see
from .starts import mixed_log, start_rows, uniform_log


class Frozen(NamedTuple):
    """What the others play, and where deviators start.

    Attributes:
        choose: how all agents act.
        start: log pi_0 of some agents, (h, states [B, N], agents [B, k]) -> [B, k, A].
        started_from: pi_0 in words.
    """

    choose: Choose
    start: Rows
    started_from: str


def frozen_policy(
    policy: AnyPolicy | None, game: Game, *, start: str, floor: float, sees_population: bool
) -> Frozen:
    """What the others play, and where deviators start.

    Args:
        policy: what a checkpoint holds; None for the uniform policy.
        game: whose agents they are.
        start: ``frozen``, at what the others play, or ``uniform``.
        floor: share of the uniform policy mixed into the first, so that every action is tried.
        sees_population: whether deviators may see the population, and so start at a policy that reads it.

    Raises:
        UserError: the policy is of other sizes.
    """
    if policy is None:
        called = "what the others play" if start == "frozen" else "the uniform policy"
        return Frozen(at_random(game), uniform_log(game), called)
    choose = act_by(policy, game)
    if start == "uniform":
        return Frozen(choose, uniform_log(game), "the uniform policy")
    rows = start_rows(policy, game, sees_population=sees_population)
    if rows is None:
        return Frozen(choose, uniform_log(game), "the uniform policy, for the others' reads all agents")
    at = "" if sees_population else " (if that reads the population, at an even one)"
    return Frozen(choose, mixed_log(rows, floor), f"what the others play{at}")


class Steps(NamedTuple):
    """What k deviators of each of B episodes did, T = H.

    Attributes:
        inputs: [B, T, k, F].
        start: log pi_0, [B, T, k, A].
        actions: [B, T, k] int64.
        log_probs: of the actions, [B, T, k].
        rewards: [B, T, k].
    """

    inputs: Tensor
    start: Tensor
    actions: Tensor
    log_probs: Tensor
    rewards: Tensor


@torch.no_grad()
def play_deviating(
    game: Game,
    frozen: Frozen,
    deviators: Deviators,
    who: Tensor,
    *,
    greedy: bool = False,
    keep: bool = False,
) -> tuple[Steps | None, Tensor]:
    """Play episodes in which the agents ``who`` act by the deviators' policy and the others as ever.

    Actions of all agents are drawn as if nobody deviated and those of the deviators then replaced, with draws
    of their own: the random streams of the others are those of the same episodes without deviation.

    Args:
        game: its generator and torch's are where the episodes begin; the deviators' own begins there too.
        frozen: what the others play.
        deviators: what ``who`` play.
        who: [B, k] int64, different agents.
        greedy: they take the likeliest action instead of a draw.
        keep: whether to return the deviators' steps.

    Returns:
        The deviators' steps, and everyone's returns [B, N] float64.
    """
    batch_size = len(who)
    own_stream = apart_from_torch(game.device)
    states = game.reset(batch_size)
    returns = torch.zeros(batch_size, game.n_agents, dtype=torch.float64, device=game.device)
    kept: list[tuple[Tensor, ...]] = []
    for h in range(game.horizon):
        chosen = frozen.choose(h, states)
        inputs = see(game, h, states, who, sees_population=deviators.sees_population)
        start = frozen.start(h, states, who)
        log_policy = deviators.log_policy(inputs, start)
        own = act(log_policy, own_stream, greedy=greedy)
        states, rewards = game.step_at(h, states, chosen.scatter(1, who, own))
        returns += rewards
        if keep:
            log_probs = log_policy.gather(-1, own.unsqueeze(-1)).squeeze(-1)
            kept.append((inputs, start, own, log_probs, rewards.gather(1, who)))
    steps = Steps(*(torch.stack(part, 1) for part in zip(*kept, strict=True))) if keep else None
    return steps, returns


def apart_from_torch(device: torch.device) -> torch.Generator:
    """A stream that starts where torch's global one stands, and leaves it there."""
    state = torch.get_rng_state()  # of the CPU, on any device: its next draw is the seed
    seed = int(torch.randint(2**62, (1,)))
    torch.set_rng_state(state)
    return torch.Generator(device=device).manual_seed(seed)


def act(log_policy: Tensor, draws: torch.Generator, *, greedy: bool) -> Tensor:
    """Actions [B, k] of log pi [B, k, A], the likeliest ones or drawn by the Gumbel trick."""
    if greedy:
        return log_policy.argmax(-1)
    exponentials = torch.empty_like(log_policy).exponential_(generator=draws)
    return (log_policy - exponentials.log()).argmax(-1)
