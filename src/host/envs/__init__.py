"""Environments; the host has none of its own."""

from typing import Any

from .multi_agent_env import MultiAgentEnv

__all__ = ["REGISTRY", "MultiAgentEnv"]

REGISTRY: dict[str, Any] = {}
