"""Look-ups in the registries by the names that a configuration gives."""

from collections.abc import Mapping
from typing import TypeVar

from ...errors import UserError
from .config import did_you_mean

T = TypeVar("T")


def look_up(registry: Mapping[str, T], key: str, name: str) -> T:
    """The entry `name` of a registry.

    Args:
        registry: name -> piece.
        key: the setting that names it, for the message.
        name: its value.

    Raises:
        UserError: there is none.
    """
    if name not in registry:
        known = ", ".join(sorted(registry)) or "none is registered"
        raise UserError(f"{key}={name}: unknown{did_you_mean(str(name), registry)} (known: {known})")
    return registry[name]
