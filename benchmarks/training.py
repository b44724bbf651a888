"""Games alone, and training on the embedded host taken apart, so that their parts can be timed."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from timing import Parts

from mf_pmd import cli
from mf_pmd.host.assembly import assemble, check_config, make_args
from mf_pmd.host.utils.config import load_config, load_environment
from mf_pmd.host.utils.logger import Logger, console_logger
from mf_pmd.host.utils.random_states import seed_everything
from mf_pmd.runners.preparing import make_game


class Episodes:
    """Whole episodes of a game and of nothing else, one batch a call: ``total``.

    Args:
        game: a name that ``--env-config`` takes.
        agents: N.
        batch_size: episodes.
        threads: of torch.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, game: str, *, agents: int, batch_size: int, threads: int, device: str) -> None:
        words = [f"env_args.n_agents={agents}"]
        env_args = load_environment(game, words, cli.CONFIG_ROOTS)["env_args"]
        self.game = make_game(SimpleNamespace(env_args=env_args, device=device, seed=1))
        self.threads, self.device, self.batch_size = threads, device, batch_size
        shape = (self.game.horizon, batch_size, agents)
        self.actions = torch.randint(self.game.n_actions, shape, device=device)
        self.agent_steps = self.actions.numel()

    @torch.no_grad()
    def __call__(self) -> Parts:
        torch.set_num_threads(self.threads)
        start = now(self.device)
        states = self.game.reset(self.batch_size)
        for h, actions in enumerate(self.actions):
            states, _ = self.game.step_at(h, states, actions)
        return {"total": now(self.device) - start}


def now(device: str) -> float:
    """Seconds, once the device has done all it was asked to."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class Training:
    """An algorithm on a game, assembled by the embedded host and trained epoch by epoch.

    Nothing is tested, saved or printed; everything else is as in a run from the command line.

    Args:
        algorithm: a name that ``--config`` takes.
        game: a name that ``--env-config`` takes.
        agents: N.
        threads: of torch, set before every repetition.
        device: ``cpu`` or ``cuda``.
        words: further ``key=value`` settings.
        seed: of the run.
        logger: takes what the pieces log; None for the host's, which keeps it to itself.
    """

    def __init__(
        self,
        algorithm: str,
        game: str,
        *,
        agents: int,
        threads: int,
        device: str,
        words: tuple[str, ...] = (),
        seed: int = 1,
        logger: Any = None,
    ) -> None:
        cli._register()
        words = (f"env_args.n_agents={agents}", f"use_cuda={device == 'cuda'}", f"seed={seed}", *words)
        config = load_config(algorithm, game, words, cli.CONFIG_ROOTS)
        check_config(config)
        seed_everything(config["seed"])
        pieces = assemble(make_args(config, "benchmark"), logger or Logger(console_logger()))
        self.runner, self.learner, self.buffer = pieces.runner, pieces.learner, pieces.buffer
        self.batch_size = pieces.args.batch_size
        self.threads, self.device = threads, device
        self.episodes = 0
        sizes = self.runner.get_env_info()
        self.agent_steps: int = self.runner.batch_size * sizes["episode_limit"] * sizes["n_agents"]

    def epochs(self, count: int) -> Parts:
        """Play and learn ``count`` times: the seconds of both, ``total``, and of ``learning`` alone."""
        torch.set_num_threads(self.threads)
        start, learning = self.now(), 0.0
        for _ in range(count):
            batch = self.runner.run(test_mode=False)
            played = self.now()
            if self.buffer is not None:  # as in the host's loop
                self.buffer.insert_episode_batch(batch)
                batch = self.buffer.sample(self.batch_size)
            self.learner.train(batch, self.runner.t_env, self.episodes)
            self.episodes += self.runner.batch_size
            learning += self.now() - played
        return {"total": self.now() - start, "learning": learning}

    def rollouts(self, count: int) -> Parts:
        """Play ``count`` times and learn nothing: ``total``."""
        torch.set_num_threads(self.threads)
        start = self.now()
        for _ in range(count):
            self.runner.run(test_mode=False)
        return {"total": self.now() - start}

    def counting(self, batch: Any = None) -> Callable[[int], Parts]:
        """A function that counts one and the same batch of episodes into cells so many times: ``total``."""
        batch = self.runner.run(test_mode=False) if batch is None else batch

        def count(times: int) -> Parts:
            torch.set_num_threads(self.threads)
            start = self.now()
            for _ in range(times):
                self.learner.count(batch)
            return {"total": self.now() - start}

        return count

    def updating(self, statistics: Any) -> Callable[[int], Parts]:
        """A function that learns so many times from one and the same cell statistics: ``total``."""

        def update(times: int) -> Parts:
            torch.set_num_threads(self.threads)
            start = self.now()
            for _ in range(times):
                self.learner.update(statistics)
                self.learner.mac.record_iterate()
                self.learner.epoch += 1
            return {"total": self.now() - start}

        return update

    def epoch_apart(self) -> Parts:
        """One epoch of a mean-field learner, step by step: ``rollout``, ``counting``, ``update``."""
        torch.set_num_threads(self.threads)
        times = [self.now()]
        batch = self.runner.run(test_mode=False)
        times.append(self.now())
        statistics = self.learner.count(batch)
        times.append(self.now())
        self.learner.update(statistics)
        times.append(self.now())
        self.learner.mac.record_iterate()
        self.learner.epoch += 1
        return {
            "rollout": times[1] - times[0],
            "counting": times[2] - times[1],
            "update": times[3] - times[2],
        }

    def now(self) -> float:
        """Seconds, once the device has done all it was asked to."""
        return now(self.device)
