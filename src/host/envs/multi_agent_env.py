"""The interface of an environment."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any


class MultiAgentEnv(ABC):
    """An environment of ``N`` agents that act at once.

    The constructor is given ``env_args`` by keyword, ``seed`` among them, and ``common_reward`` and
    ``reward_scalarisation``.

    Attributes:
        n_agents: ``N``.
        episode_limit: steps of the longest episode, ``T``.
    """

    n_agents: int
    episode_limit: int

    @abstractmethod
    def reset(self, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[Any, Any]:
        """Begin an episode; observations and info."""

    @abstractmethod
    def step(self, actions: Any) -> tuple[Any, Any, bool, bool, Mapping[str, Any]]:
        """One step.

        Returns:
            Observations, the reward (a number, or ``N`` of them if rewards are individual), terminated,
            truncated, and info. ``info["episode_limit"]`` marks an episode that was cut off and did not end;
            the last step's info holds numbers only.
        """

    @abstractmethod
    def get_obs(self) -> Sequence[Any]:
        """Observations ``[N, obs]``."""

    @abstractmethod
    def get_state(self) -> Any:
        """The state ``[state]``."""

    @abstractmethod
    def get_avail_actions(self) -> Sequence[Any]:
        """1 for every available action, ``[N, A]``."""

    @abstractmethod
    def get_obs_size(self) -> int:
        """Length of an observation."""

    @abstractmethod
    def get_state_size(self) -> int:
        """Length of the state."""

    @abstractmethod
    def get_total_actions(self) -> int:
        """``A``."""

    def get_stats(self) -> dict[str, Any]:
        """Statistics of the environment's own."""
        return {}

    def get_env_info(self) -> dict[str, Any]:
        """Sizes, as the batches need them."""
        return {
            "state_shape": self.get_state_size(),
            "obs_shape": self.get_obs_size(),
            "n_actions": self.get_total_actions(),
            "n_agents": self.n_agents,
            "episode_limit": self.episode_limit,
        }

    def render(self) -> None:
        """Draw the current state."""
        raise NotImplementedError(f"{type(self).__name__} cannot render")

    def save_replay(self) -> None:
        """Save a replay of the last episode."""
        raise NotImplementedError(f"{type(self).__name__} saves no replays")

    def close(self) -> None:  # noqa: B027
        """Release what the environment holds."""
