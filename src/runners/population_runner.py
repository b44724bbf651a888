"""The population runner: whole batches of episodes of a population game, on its device."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..functional.distributions import count_values
from ..functional.integers import smallest_integer
from ..games import Game
from ..games.observations import observation_size, observe, sees_its_number
from .compiled_step import CompiledStep
from .deviations import FEWEST_EPISODES, MOST_ENTRIES, Gains, scores_of
from .played_deviations import WHEN, Deviators, draw_deviators, played_scores
from .preparing import make_game, population_info, require_choice, require_memory, set_threads, tell_scale
from .scoring import TestScore, judged_one_by_one, mean_over_agents, uniform_exploitability
from .seeding import continue_stream, isolated_randomness
from .speedometer import Speedometer
from .stepper import Stepper

TOO_WEAK = (
    "deviator too weak at t_env %d: the best response was fitted on too little (%d test episodes), a small "
    "test_exploitability means nothing there; take more test_nepisode"
)
TOO_MANY = (
    "test_exploitability_* is skipped: with test_nepisode=%d this game's tables at what agents meet have "
    "more than %d entries; test_mean_field_exploitability is not affected"
)
OTHER_DEVICE = (
    "the checkpoint is of a run on another device: the game draws anew from its seed on %s, so that this run "
    "goes on from what was learnt and not from what would have been drawn"
)
NOT_FUSED = (
    "population.compile=True: with runner=%s and mac=%s nothing is compiled, for no step draws every agent's "
    "action from the rows of one policy by inverting their sums"
)


class PopulationRunner:
    """Plays ``batch_size_run`` episodes of a population game at once and fills the host's episode batch.

    Nothing loops over agents or episodes, no gradient is recorded, nothing leaves the device but
    logged scalars. The game is made from ``env_args``; the batch's ``state`` is the empirical
    distribution of the places [K] (the local states, where those are few), ``obs`` the view that
    ``observation`` names. Training statistics are logged every ``runner_log_interval`` environment
    steps. Test episodes draw from random streams of their own, so that when and how often one tests
    changes no training; they are accumulated over ``test_nepisode`` episodes and scored on the last (see
    ``TestScore``).

    Args:
        args: the host's configuration; reads ``env_args``, ``observation``, ``population``,
            ``batch_size_run``, ``test_nepisode``, ``runner_log_interval``, ``common_reward``,
            ``reward_scalarisation``, ``device``, ``seed``, ``t_max``, ``evaluate``, and what tells whether
            agents share a policy, ``agent`` and ``obs_agent_id``. Writes ``args.population_info``, see
            ``preparing.population_info``.
        logger: the host's logger.
        episode_batch: the host's EpisodeBatch class, bound when the runner is registered.
        on_close: called with the runner when the host closes it, bound likewise.

    Raises:
        UserError: an unknown game, setting or value.
    """

    embedded_only = False  # whether other hosts cannot take its batches

    def __init__(
        self,
        args: SimpleNamespace,
        logger: Any,
        *,
        episode_batch: Callable[..., Any],
        on_close: Callable[[Any], None] | None = None,
    ) -> None:
        self.args = args
        self.logger = logger
        self.episode_batch = episode_batch
        self.on_close = on_close
        self.batch_size: int = args.batch_size_run
        set_threads(args.population["threads"])
        require_choice("population.played", args.population["played"], WHEN)
        self.game = self._make_game()
        tell_scale(self.game, logger)
        self.observation_size = observation_size(args.observation, self.game)
        self.sees_numbers = args.observation == "index" and sees_its_number(self.game)
        self.stepper = Stepper(self.game)
        self.compiled = self._compiled_step()
        args.population_info = population_info(self.game, args.env_args["key"])
        self.t_env = 0
        self.log_train_stats_t = -args.runner_log_interval - 1
        self.test_count = 0
        self.individual = False
        self.score = self._new_score()
        self.uniform: float | None = None
        self.first_population: Tensor | None = None
        self.last_population: Tensor | None = None
        self.last_policy: Tensor | None = None
        self.train_returns: list[Tensor] = []
        self.warned_too_weak = False
        self.speedometer = Speedometer()

    def _compiled_step(self) -> CompiledStep | None:
        wanted = self.args.population.get("compile", False)  # which yamls of one's own need not have
        if not isinstance(wanted, bool):
            raise UserError(f"population.compile={wanted}: choose False or True")
        return CompiledStep(self.game, self.logger.console_logger.warning) if wanted else None

    def _make_game(self) -> Game:
        args = self.args
        require_memory(args, args.env_args.get("n_agents", 0), args.env_args.get("horizon", 0))
        game = make_game(args)
        require_memory(args, game.n_agents, game.horizon)
        return game

    # What a host calls.

    def get_env_info(self) -> dict[str, int]:
        """The five sizes of the host's contract."""
        return {
            "state_shape": self.game.n_places,
            "obs_shape": self.observation_size,
            "n_actions": self.game.n_actions,
            "n_agents": self.game.n_agents,
            "episode_limit": self.game.horizon,
        }

    def column_types(self) -> dict[str, torch.dtype]:
        """Small integer types of the batch's ``obs`` and ``actions``, for a host that asks for them.

        None where agents observe more than the number of their local state.
        """
        if not self.sees_numbers or self.game.n_states is None:
            return {}
        return {"obs": smallest_integer(self.game.n_states), "actions": smallest_integer(self.game.n_actions)}

    def setup(self, scheme: dict, groups: dict, preprocess: dict, mac: Any) -> None:
        """Take the batch's layout and the controller."""
        self.mac = mac
        self.layout = (scheme, groups, self.batch_size, self.game.horizon + 1)
        self.preprocess = preprocess
        self.individual = judged_one_by_one(mac, self.args)
        self.score = self._new_score()
        if self.game.has_tables and self.score.deviations is None:
            self.logger.console_logger.warning(TOO_MANY, self.args.test_nepisode, MOST_ENTRIES)
        if self.compiled is not None and not self._plays_compiled(test_mode=False):
            self.logger.console_logger.warning(NOT_FUSED, self.args.runner, self.args.mac)

    @torch.no_grad()
    def run(self, test_mode: bool = False) -> Any:
        """Play a batch of episodes; returns the host's EpisodeBatch [B, T + 1, ...]."""
        self.speedometer.tick()
        if test_mode:
            with isolated_randomness(self.game, (self.args.seed, self.t_env, self.test_count)):
                batch, returns = self._play(test_mode=True, score=self.score)
            self._after_test(returns)
        else:
            batch, returns = self._play(test_mode=False)
            self._after_training(returns)
        return batch

    def state_dict(self) -> dict:
        """What a resumed run needs to go on as if it had not stopped."""
        return {
            "generator": self.game.generator.get_state(),
            "t_env": self.t_env,
            "log_train_stats_t": self.log_train_stats_t,
            "first_population": self.first_population,
            "uniform": self.uniform,
            "train_returns": self.train_returns,
        }

    def load_state_dict(self, state: dict) -> None:
        """Restore ``state_dict``."""
        if not continue_stream(self.game.generator, state["generator"]):
            self.logger.console_logger.warning(OTHER_DEVICE, self.game.device.type)
        self.t_env = state["t_env"]
        self.log_train_stats_t = state["log_train_stats_t"]
        self.first_population = state["first_population"]
        self.uniform = state["uniform"]
        self.train_returns = [returns.to(self.game.device) for returns in state["train_returns"]]

    def artifacts(self) -> dict[str, np.ndarray]:
        """What is worth keeping of the tests, by name.

        ``population_first`` and ``population_last``, nu [H + 1, S] under the first and the last policy
        tested, and ``map_first`` and ``map_last`` [H + 1, rows, columns] with ``map_regions`` [rows, columns]
        where the game has a map; ``policy_last`` [H, S, A], what the agents did on average under the last,
        uniform where nobody was; ``state_names`` [S] and ``action_names`` [A].
        """
        kept = {
            "population_first": self.first_population,
            "population_last": self.last_population,
            "policy_last": self.last_policy,
        }
        if self.game.map_shape is not None:
            for name in ("first", "last"):
                nu = kept[f"population_{name}"]
                kept[f"map_{name}"] = None if nu is None else self.game.on_map(nu)
        arrays = {name: value.cpu().numpy() for name, value in kept.items() if value is not None}
        if not arrays:
            return {}
        told = {name: getattr(self.game, name) for name in ("state_names", "action_names", "map_regions")}
        return arrays | {name: np.array(value) for name, value in told.items() if value}

    def close_env(self) -> None:
        """The end of a run."""
        if self.on_close is not None:
            self.on_close(self)

    def save_replay(self) -> None:
        """Population games keep no replay."""

    # One batch of episodes.

    def _play(
        self, *, test_mode: bool, score: TestScore | None = None, deviators: Deviators | None = None
    ) -> tuple[Any, Tensor]:
        """A batch of episodes and everyone's returns [B, N]; ``score`` watches, ``deviators`` interfere."""
        game = self.game
        batch = self.episode_batch(*self.layout, preprocess=self.preprocess, device=self.args.device)
        avail = torch.ones((), dtype=torch.int, device=game.device)
        avail = avail.expand(self.batch_size, game.n_agents, game.n_actions)
        returns = torch.zeros(self.batch_size, game.n_agents, dtype=torch.float64, device=game.device)
        compiled = self.compiled if self._plays_compiled(test_mode) else None
        self.mac.init_hidden(batch_size=self.batch_size)
        states = self.stepper.reset(self.batch_size)
        for t in range(game.horizon + 1):
            places = game.places(states)
            counts = count_values(places, game.n_places)
            population = counts / game.n_agents  # [B, K]
            obs = self._observed(states, population, t / game.horizon)
            seen = {"state": population, "obs": obs, "avail_actions": avail}
            batch.update(seen, ts=t)
            if score is not None:
                score.add_population(t, population)
            if t == game.horizon:
                break
            if compiled is not None:
                thresholds, rows = self.mac.thresholds(batch, t, test_mode=test_mode)
                actions, states, rewards = compiled(t, thresholds, rows, states, counts)
            else:
                actions = self._chosen(batch, t, states, test_mode=test_mode, deviators=deviators)
                if score is not None:
                    score.add_actions(t, places.long(), actions.long())
                states, rewards = self.stepper.step(t, states, actions, counts)
            returns += rewards
            self._record(batch, t, actions, rewards)
        return batch, returns

    def _chosen(
        self, batch: Any, t: int, states: Tensor, *, test_mode: bool, deviators: Deviators | None
    ) -> Tensor:
        """What the controller chooses, and deviators instead: states [B, N] -> actions [B, N]."""
        actions = self.mac.select_actions(
            batch, t_ep=t, t_env=self.t_env, bs=slice(None), test_mode=test_mode
        )
        return actions if deviators is None else deviators.replace(t, states.long(), actions.long())

    def _plays_compiled(self, test_mode: bool) -> bool:
        """Whether actions are drawn and the game is stepped by one function: in training, if asked for."""
        if self.compiled is None or test_mode:
            return False
        return getattr(self.mac, "draws_from_thresholds", False)

    def _observed(self, states: Tensor, population: Tensor, progress: float) -> Tensor:
        """[B, N, O]."""
        if self.sees_numbers:
            return states.unsqueeze(-1)
        return observe(self.args.observation, self.game, states.long(), population, progress)

    def _record(self, batch: Any, t: int, actions: Tensor, rewards: Tensor) -> None:
        last = t == self.game.horizon - 1
        terminated = torch.full((self.batch_size, 1), int(last), dtype=torch.uint8, device=actions.device)
        if self.args.common_reward:
            total = rewards.sum(-1, keepdim=True)
            rewards = total if self.args.reward_scalarisation == "sum" else total / self.game.n_agents
        batch.update(
            {"actions": actions, "reward": rewards, "terminated": terminated}, ts=t, mark_filled=False
        )

    # What is logged.

    def _after_training(self, returns: Tensor) -> None:
        self.t_env += self.batch_size * self.game.horizon
        self.speedometer.add(self.batch_size * self.game.horizon * self.game.n_agents)
        self.train_returns.append(mean_over_agents(self.game, returns))
        if self.t_env - self.log_train_stats_t >= self.args.runner_log_interval:
            self._log_training()

    def _log_training(self) -> None:
        self._log_returns("", torch.cat(self.train_returns))
        rate = self.speedometer.read()
        if rate is not None:
            self.logger.log_stat("agent_steps_per_second", rate, self.t_env)
        if hasattr(self.mac.action_selector, "epsilon"):
            self.logger.log_stat("epsilon", self.mac.action_selector.epsilon, self.t_env)
        self.log_train_stats_t = self.t_env
        self.train_returns = []

    def _after_test(self, returns: Tensor) -> None:
        self.score.add_returns(returns)
        self.test_count += 1
        if self.test_count * self.batch_size >= self.args.test_nepisode:
            self._log_test()

    def _log_test(self) -> None:
        self._log_returns("test_", self.score.returns())
        if self.uniform is None and self.game.has_tables:
            self.uniform = uniform_exploitability(self.game)
            self.logger.log_stat("uniform_mean_field_exploitability", self.uniform, self.t_env)
        scores = self.score.mean_field_exploitabilities(self.mac) | self._deviation_scores()
        for key, value in {**scores, "visited_share": self.score.visited_share()}.items():
            self.logger.log_stat(f"test_{key}", value, self.t_env)
        self.last_population = self.score.population()
        self.last_policy = self.score.average_policy()
        if self.first_population is None:
            self.first_population = self.last_population
        self.score, self.test_count = self._new_score(), 0

    def _new_score(self) -> TestScore:
        return TestScore(self.game, individual=self.individual, n_episodes=self.args.test_nepisode)

    def _deviation_scores(self) -> dict[str, float]:
        """The N-player exploitability of what was tested; played too if ``population.played`` asks for it."""
        deviations = self.score.deviations
        if deviations is None or deviations.n_episodes < FEWEST_EPISODES:
            return {}
        gains = deviations.gains()
        verdict = deviations.verdict(gains)
        if verdict.too_weak and not self.warned_too_weak:
            self.warned_too_weak = True
            self.logger.console_logger.warning(TOO_WEAK, self.t_env, deviations.n_episodes)
        scores = scores_of(verdict)
        if self._plays_deviations():
            scores |= played_scores(self._played_gains(gains, verdict.worst))
        return scores

    def _plays_deviations(self) -> bool:
        when = self.args.population["played"]
        finished = self.args.evaluate or self.t_env >= self.args.t_max
        return when == "always" or (when == "last" and finished)

    def _played_gains(self, gains: Gains, worst: int) -> dict[str, Tensor]:
        """Returns of deviators less what they get in the same episodes without deviating, [episodes] each.

        One agent an episode deviates, drawn from all (``mean``) or from the worst unit (``max``). The
        episodes compared draw from the same random streams, none of them those that fitted.
        """
        units = {"mean": None, "max": worst}
        differences: dict[str, list[Tensor]] = {name: [] for name in units}
        for k in range(self.test_count):
            key = (self.args.seed, self.t_env, self.test_count + k)
            for name, difference in self._played_batch(key, gains, units).items():
                differences[name].append(difference)
        return {name: torch.cat(parts) for name, parts in differences.items()}

    def _played_batch(
        self, key: tuple[int, ...], gains: Gains, units: dict[str, int | None]
    ) -> dict[str, Tensor]:
        """The same of one batch of episodes, [B] each.

        Args:
            key: of the streams that the episodes draw from; followed by 1, of those that draw deviators.
            gains: what deviators do.
            units: which unit the deviator is of, None for any; by name.
        """
        assert self.score.deviations is not None
        played = self.score.deviations.played
        differences = {}
        with isolated_randomness(self.game, key):
            without = self._play(test_mode=True)[1]  # [B, N]
        for name, unit in units.items():
            with isolated_randomness(self.game, (*key, 1)):
                who = draw_deviators(played, gains, batch_size=self.batch_size, unit=unit)
            with isolated_randomness(self.game, key):
                returns = self._play(test_mode=True, deviators=who)[1]
            differences[name] = who.own(returns) - who.own(without)
        return differences

    def _log_returns(self, prefix: str, returns: Tensor) -> None:
        """Mean over agents and episodes, and the spread over episodes of the agents' mean, [episodes]."""
        mean = returns.mean().item()
        self.logger.log_stat(f"{prefix}return_mean", mean, self.t_env)
        self.logger.log_stat(f"{prefix}return_std", returns.std(correction=0).item(), self.t_env)
        self.logger.log_stat(f"{prefix}total_return_mean", mean * self.game.n_agents, self.t_env)
        self.logger.log_stat(f"{prefix}ep_length_mean", float(self.game.horizon), self.t_env)
