"""mf-pmd: approximate Nash equilibria of games with thousands of nearly identical agents.

A plugin for EPyMARL-style frameworks that implements B. Yardim and N. He, "Exploiting Approximate
Symmetry for Efficient Multi-Agent Reinforcement Learning", L4DC 2025 (PMLR 283:31-44).

The shape alphabet of every docstring in the package:

======  ============================================================
letter  meaning
======  ============================================================
B       episodes in a batch
T, H    time, h = 0 .. H-1 (a batch holds T + 1 = H + 1 steps)
N       agents; n = N - 1 others
S       local states of one agent
A       actions of one agent
G       agent types (agents of one type share their kernels)
======  ============================================================

``mu [S, A]`` is a distribution of the population over state-action pairs, ``nu [S]`` its marginal
over states, ``pi [H, S, A]`` a policy and ``rho0 [S]`` the initial law of a local state.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluation.checkpoint import load as load

__version__ = "0.1.0"

# Imported when asked for: `mf-pmd --help` must not wait for torch.
_PUBLIC = {"load": ".evaluation.checkpoint"}


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
