"""What a user is told when memory runs out."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...errors import UserError

# torch's words, on a CPU, on a GPU and where C++ containers grow; its errors are RuntimeErrors
RAN_OUT = re.compile(r"can't allocate memory|not enough memory|out of memory|bad_alloc", re.IGNORECASE)
# torch's words, and those of numpy, whose error is a MemoryError
ASKED_FOR = re.compile(r"(?:tried|unable) to allocate (\d+(?:\.\d+)?)\.? ?(bytes|[KMGTPE]iB)", re.IGNORECASE)


@contextmanager
def memory_told(config: dict[str, Any]) -> Iterator[None]:
    """A block in which running out of memory is a UserError that names what to lower.

    Args:
        config: the settings of the run.

    Raises:
        UserError: the block could not allocate what it needed, on the CPU or on a GPU.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not RAN_OUT.search(str(error)):
            raise
        raise UserError(f"out of memory{asked_for(error)}: lower {what_to_lower(config)}") from error


def asked_for(error: BaseException) -> str:
    """A clause with the size of the allocation that failed, if the error tells it."""
    found = ASKED_FOR.search(str(error))
    if found is None:
        return ""
    number, unit = found.groups()
    if unit.lower() == "bytes":
        number, unit = f"{float(number) / 2**30:.3g}", "GiB"
    return f", {number} {unit} more were needed"


def what_to_lower(config: dict[str, Any]) -> str:
    """The settings that memory grows with, with their values."""
    env_args = config.get("env_args", {})
    named = [f"env_args.{key}={env_args[key]}" for key in ("n_agents", "horizon") if key in env_args]
    named.append(f"batch_size_run={config['batch_size_run']}")
    if config["buffer_size"] > config["batch_size_run"]:
        named.append(f"buffer_size={config['buffer_size']}")
    return " or ".join(named)
