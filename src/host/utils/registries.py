"""Look-ups in the registries by the names that a configuration gives."""

from collections.abc import Mapping
from typing import TypeVar

from ...errors import UserError
from .config import did_you_mean

T = TypeVar("T")


def look_up(
    registry: Mapping[str, T], key: str, name: str, *, given: str | None = None, by: str | None = None
) -> T:
    """The entry `name` of a registry.

    Args:
        registry: name -> piece. A piece may declare what it reads as its attribute ``reads``; one that
            declares nothing is taken to read what it is given.
        key: the setting that names it, for the message.
        name: its value.
        given: what the piece will be given to read, in the words of those who declare it.
        by: who gives it, for the message.

    Raises:
        UserError: there is none, or it reads something else than it is given.
    """
    if name not in registry:
        known = ", ".join(sorted(registry)) or "none is registered"
        raise UserError(f"{key}={name}: unknown{did_you_mean(str(name), registry)} (known: {known})")
    if given is not None and getattr(registry[name], "reads", given) != given:
        fitting = [other for other in sorted(registry) if getattr(registry[other], "reads", given) == given]
        raise UserError(
            f"{key}={name}: reads {getattr(registry[name], 'reads', None)}, and {by} gives it {given}; "
            f"use {' or '.join(fitting)}"
        )
    return registry[name]
