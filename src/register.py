"""All that the plugin adds to a host: one record, one function."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from . import controllers, envs, learners, runners
from .errors import UserError
from .modules import agents, critics


@dataclass(frozen=True)
class HostAPI:
    """What the plugin needs from a host.

    Attributes:
        learners, controllers, agents, critics, runners, envs: the host's registries, name -> class.
        EpisodeBatch: its batch class.
        on_close: called with the population runner when the host closes it, for a host that does not
            itself ask a runner for its ``artifacts``.
        embedded: whether it is the embedded host, which hands a learner whatever a runner plays.
    """

    learners: dict[str, Any]
    controllers: dict[str, Any]
    agents: dict[str, Any]
    critics: dict[str, Any]
    runners: dict[str, Any]
    envs: dict[str, Any]
    EpisodeBatch: Callable[..., Any]
    on_close: Callable[[Any], None] | None = None
    embedded: bool = True


def register(host: HostAPI) -> None:
    """Fill the host's registries with the plugin's pieces; a second call changes nothing.

    Raises:
        ValueError: a name is taken by something that is not ours.
    """
    extras: dict[str, Any] = {"episode_batch": host.EpisodeBatch, "on_close": host.on_close}
    bound = {
        name: partial(runner, **extras)
        if host.embedded or not runner.embedded_only
        else partial(refuse_elsewhere, name=name)
        for name, runner in runners.REGISTRY.items()
    }
    parts = (
        ("learner", host.learners, learners.REGISTRY),
        ("controller", host.controllers, controllers.REGISTRY),
        ("agent", host.agents, agents.REGISTRY),
        ("critic", host.critics, critics.REGISTRY),
        ("runner", host.runners, bound),
        ("environment", host.envs, envs.REGISTRY),
    )
    for kind, registry, ours in parts:
        for name, piece in ours.items():
            taken = registry.get(name)
            if taken is not None and origin(taken) is not origin(piece):
                raise ValueError(f"the host already has a {kind} named {name}")
    for _, registry, ours in parts:
        registry.update(ours)


def refuse_elsewhere(args: Any, logger: Any, *, name: str) -> NoReturn:
    """What stands in another host's registry for a runner that it cannot serve.

    Raises:
        UserError
    """
    raise UserError(
        f"runner={name}: runs under the embedded host alone (mf-pmd train without --host), for the buffer of "
        "another takes trajectories of agents; take runner=population"
    )


def origin(piece: Any) -> Any:
    """The class behind a registry entry."""
    return piece.func if isinstance(piece, partial) else piece
