"""A population game as a MultiAgentEnv, so that a host's own runners can play it."""

import numpy as np
import torch

from ..errors import UserError
from ..functional.distributions import count_values
from ..games import make
from ..games.observations import observation_size, observe


class PopulationEnv:
    """One episode of a population game at a time, in numpy, with the host's method names.

    It is there for the runners of other hosts; the population runner is much faster. Agents
    observe the game's ``features`` (one-hot local state, empirical distribution, h / H, say); the state is
    the empirical distribution of where they meet. The last step is terminal.

    Args:
        seed: of the game's generator.
        common_reward: one reward for all agents instead of one each.
        reward_scalarisation: ``sum`` or ``mean``, how one is made of N.
        env_args: the game's key and knobs.

    Raises:
        UserError: an unknown game, argument or value.
    """

    view = "features"

    def __init__(
        self,
        *,
        seed: int = 0,
        common_reward: bool = False,
        reward_scalarisation: str = "sum",
        **env_args: object,
    ) -> None:
        if reward_scalarisation not in ("sum", "mean"):
            raise UserError(f"reward_scalarisation={reward_scalarisation}: choose sum or mean")
        env_args.pop("map_name", None)
        if "key" not in env_args:
            raise UserError("env_args.key: missing; name a population game, such as a_sis")
        self.game = make(**env_args, seed=seed)  # type: ignore[arg-type]
        self.common_reward = common_reward
        self.reward_scalarisation = reward_scalarisation
        self.n_agents = self.game.n_agents
        self.episode_limit = self.game.horizon
        self.reset()

    def reset(self, seed: int | None = None, options: dict | None = None) -> tuple[list[np.ndarray], dict]:
        """Start an episode; returns the observations and an empty info."""
        if seed is not None:
            self.game.reseed(seed)
        self.t = 0
        self._set_states(self.game.reset(1))
        return self.get_obs(), {}

    def step(self, actions: object) -> tuple[list[np.ndarray], float | list[float], bool, bool, dict]:
        """Advance by one step; actions [N] -> observations, reward, terminated, truncated, info."""
        chosen = torch.as_tensor(np.asarray(actions), dtype=torch.long).reshape(1, self.n_agents)
        states, rewards = self.game.step_at(self.t, self.states, chosen)
        self.t += 1
        self._set_states(states)
        return self.get_obs(), self._reward(rewards[0].numpy()), self.t >= self.episode_limit, False, {}

    def _reward(self, rewards: np.ndarray) -> float | list[float]:
        if not self.common_reward:
            return rewards.tolist()
        return float(rewards.sum() if self.reward_scalarisation == "sum" else rewards.mean())

    def _set_states(self, states: torch.Tensor) -> None:
        self.states = states
        self.population = count_values(self.game.places(states), self.game.n_places) / self.n_agents

    def get_obs(self) -> list[np.ndarray]:
        """One array [F] an agent."""
        progress = self.t / self.episode_limit
        return list(observe(self.view, self.game, self.states, self.population, progress)[0].numpy())

    def get_obs_agent(self, agent_id: int) -> np.ndarray:
        """The observation of one agent."""
        return self.get_obs()[agent_id]

    def get_obs_size(self) -> int:
        """Numbers an agent observes."""
        return observation_size(self.view, self.game)

    def get_state(self) -> np.ndarray:
        """The empirical distribution of the places, which are the local states where those are few, [K]."""
        return self.population[0].numpy()

    def get_state_size(self) -> int:
        """K."""
        return self.game.n_places

    def get_avail_actions(self) -> np.ndarray:
        """Every action is available: ones [N, A]."""
        return np.ones((self.n_agents, self.game.n_actions), dtype=np.int64)

    def get_avail_agent_actions(self, agent_id: int) -> np.ndarray:
        """Ones [A]."""
        return np.ones(self.game.n_actions, dtype=np.int64)

    def get_total_actions(self) -> int:
        """A."""
        return self.game.n_actions

    def get_env_info(self) -> dict[str, int]:
        """The five sizes of the host's contract."""
        return {
            "state_shape": self.get_state_size(),
            "obs_shape": self.get_obs_size(),
            "n_actions": self.get_total_actions(),
            "n_agents": self.n_agents,
            "episode_limit": self.episode_limit,
        }

    def get_stats(self) -> dict:
        """Nothing beyond returns."""
        return {}

    def render(self) -> None:
        """Population games are looked at through population.png."""

    def save_replay(self) -> None:
        """Population games keep no replay."""

    def close(self) -> None:
        """Nothing to close."""
