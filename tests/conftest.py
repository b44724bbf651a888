"""What the tests of all parts share: games by name, configurations, assembled pieces, laws."""

import functools
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import numpy as np
import pytest
import scipy.stats
import torch
import yaml

from mf_pmd import cli, games
from mf_pmd.functional.mean_field import MeanFieldModel
from mf_pmd.games.joint_kernels import JointKernels
from mf_pmd.host import envs
from mf_pmd.host.assembly import assemble, check_config, make_args
from mf_pmd.host.envs import MultiAgentEnv
from mf_pmd.host.utils.config import load_config
from mf_pmd.host.utils.logger import console_logger
from mf_pmd.host.utils.random_states import seed_everything

CONFIG = Path(cli.__file__).parent / "config"
BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

hypothesis.settings.register_profile("mf_pmd", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("mf_pmd")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors here are small, for which one thread is fastest; a run may have changed the number."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    return


@functools.cache
def _benchmark(place: str) -> ModuleType:
    name = "benchmarks_" + place.removesuffix(".py").replace("/", "_")
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def benchmark_module() -> Callable[[str], ModuleType]:
    """A file of benchmarks/ as a module, such as ``enumeration.py``: known answers that tests share."""
    return _benchmark


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import a module of benchmarks/ as its scripts do, and leave no trace of it."""
    threads, known = torch.get_num_threads(), set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module
    for name in set(sys.modules) - known:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if Path(file).parent == BENCHMARKS:
            del sys.modules[name]
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def make_game() -> Callable[..., games.PopulationGame]:
    """A game with the defaults of its yaml file, some of them changed."""

    def make(key: str, *, seed: int = 0, **changes: Any) -> games.PopulationGame:
        env_args = yaml.safe_load((CONFIG / "envs" / f"{key}.yaml").read_text())["env_args"]
        return games.make(**{**env_args, **changes}, seed=seed)

    return make


@pytest.fixture(scope="session")
def random_model() -> Callable[..., MeanFieldModel]:
    """A random mean-field game whose kernels and rewards depend on the population."""

    def make(seed: int, *, horizon: int = 3, n_states: int = 2, n_actions: int = 2) -> MeanFieldModel:
        random = torch.Generator().manual_seed(seed)
        cells = n_states * n_actions

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=random, dtype=torch.float64)

        law, law_pull = normal(n_states, n_actions, n_states), normal(cells, n_states, n_actions, n_states)
        pay, pay_pull = normal(n_states, n_actions), normal(cells, n_states, n_actions)

        def transition(mu: torch.Tensor) -> torch.Tensor:
            return torch.softmax(law + torch.einsum("c,csat->sat", mu.flatten(), 3 * law_pull), -1)

        def reward(mu: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(pay + torch.einsum("c,csa->sa", mu.flatten(), 3 * pay_pull))

        return MeanFieldModel(torch.softmax(normal(n_states), 0), horizon, transition, reward)

    return make


@pytest.fixture(scope="session")
def random_policy() -> Callable[..., torch.Tensor]:
    """A random table [H, S, A] float64, some of its probabilities tiny."""

    def make(seed: int, *shape: int) -> torch.Tensor:
        random = torch.Generator().manual_seed(seed)
        return torch.softmax(2 * torch.randn(*shape, generator=random, dtype=torch.float64), -1)

    return make


@pytest.fixture(scope="session")
def assert_laws() -> Callable[..., None]:
    """Chi-square test, over all rows together, that counts [K, X] come from the laws [K, X].

    A value of probability zero must not occur at all. Seeds are fixed, so a failure is no accident.
    """

    def check(counts: Any, laws: Any, *, level: float = 1e-4) -> None:
        counts = np.atleast_2d(np.asarray(counts, dtype=float))
        laws = np.broadcast_to(np.atleast_2d(np.asarray(laws, dtype=float)), counts.shape)
        assert counts[laws == 0].sum() == 0, "an impossible value was drawn"
        expected = laws * counts.sum(1, keepdims=True)
        assert expected[laws > 0].min() >= 5, "too few draws for a chi-square test"
        statistic = ((counts - expected)[laws > 0] ** 2 / expected[laws > 0]).sum()
        degrees = int((laws > 0).sum() - len(laws))
        if degrees:
            assert scipy.stats.chi2.sf(statistic, degrees) > level, (statistic, degrees)

    return check


class RecordingLogger:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.console_logger = console_logger()
        self.series: dict[str, list[tuple[int, float]]] = {}

    def log_stat(self, key: str, value: Any, t: int, to_sacred: bool = True) -> None:
        self.series.setdefault(key, []).append((t, float(value)))

    def last(self, key: str) -> float:
        return self.series[key][-1][1]


@pytest.fixture
def recording_logger() -> RecordingLogger:
    return RecordingLogger()


@pytest.fixture(scope="session")
def configure(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """The merged configuration of a run of the plugin in the embedded host, which knows the plugin."""
    cli._register()

    def load(alg: str, env: str, *words: str) -> dict[str, Any]:
        base = [
            "seed=1",
            "use_cuda=False",
            "threads=1",
            "progress=none",
            f"local_results_path={tmp_path_factory.mktemp('results')}",
        ]
        return load_config(alg, env, [*base, *words], cli.CONFIG_ROOTS)

    return load


@pytest.fixture
def build(configure: Any) -> Callable[..., Any]:
    """Runner, controller (``learner.mac``) and learner of a configuration, wired by the embedded host."""

    def make(alg: str, env: str, *words: str, logger: Any = None) -> Any:
        config = configure(alg, env, *words)
        check_config(config)
        seed_everything(config["seed"])
        return assemble(make_args(config, "token"), logger or RecordingLogger())

    return make


@pytest.fixture(scope="session")
def checkpoint_entries() -> Callable[[Path], dict[str, Any]]:
    """Every tensor and number in the files of a checkpoint, by ``FILE/KEY/...``, but the configuration."""

    def collect(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, (list, tuple)):
            value = dict(enumerate(value))
        if not isinstance(value, dict):
            yield prefix, value
            return
        for key, item in value.items():
            yield from collect(f"{prefix}/{key}", item)

    def entries(folder: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path in sorted(folder.glob("*.th")):
            found.update(collect(path.stem, torch.load(path, weights_only=True)))
        return found

    return entries


class RingOfNeighbours(JointKernels):
    """An epidemic on a ring: healthy agents who go out catch it from their two neighbours, .45 from each.

    A neighbour is as likely one of the others as any, so that the induced kernel is .9 nu(ill); kernels are
    anonymous with three agents alone. Recovery .3; being ill costs .6, staying at home (a = 1) .2.
    """

    def __init__(self, n_agents: int, *, horizon: int = 3, catching: float = 0.45) -> None:
        self.n_agents, self.n_states, self.n_actions, self.horizon = n_agents, 2, 2, horizon
        self.initial_law = torch.tensor([0.5, 0.5], dtype=torch.float64)
        self.catching = catching

    def transition(self, i: int, s: int, a: int, others: torch.Tensor) -> torch.Tensor:
        beside = [(i + k) % self.n_agents for k in (-1, 1)]
        places = [j if j < i else j - 1 for j in beside]
        ill = others[..., places].ge(2).sum(-1).double()
        becomes = self.catching * ill if (s, a) == (0, 0) else torch.full_like(ill, 0.7 if s else 0.0)
        return torch.stack([1 - becomes, becomes], -1)

    def reward(self, i: int, s: int, a: int, others: torch.Tensor) -> torch.Tensor:
        return torch.full(others.shape[:-1], 1 - 0.6 * s - 0.2 * a, dtype=torch.float64)


@pytest.fixture(scope="session")
def ring_of_neighbours() -> type[RingOfNeighbours]:
    """A game whose kernels are not anonymous, with an induced game known in closed form."""
    return RingOfNeighbours


class LampsEnv(MultiAgentEnv):
    """Who is there sees one of two lamps and is paid for pressing its button; who is away can only wait.

    No population game: agents come and go. With ``uneven`` every other episode ends half way, and with
    ``grows`` observations have one number more from the second step on.
    """

    def __init__(
        self,
        *,
        key: str,
        n_agents: int,
        horizon: int,
        uneven: bool,
        grows: bool,
        seed: int,
        common_reward: bool,
        reward_scalarisation: str,
    ) -> None:
        self.n_agents, self.episode_limit, self.common_reward = n_agents, horizon, common_reward
        self.uneven, self.grows = uneven, grows
        self.random, self.episode, self.t = np.random.default_rng(seed), 0, 0

    def reset(self, seed: int | None = None, options: dict | None = None) -> tuple[list[np.ndarray], dict]:
        self.t, self.episode = 0, self.episode + 1
        self._draw()
        return self.get_obs(), {}

    def _draw(self) -> None:
        self.there = self.random.random(self.n_agents) < 0.7
        self.lamps = self.random.integers(2, size=self.n_agents)

    def step(self, actions: Any) -> tuple[list[np.ndarray], Any, bool, bool, dict]:
        pressed = np.asarray(actions)
        assert np.take_along_axis(np.array(self.get_avail_actions()), pressed[:, None], 1).all()
        rewards = (self.there & (pressed == self.lamps + 1)).astype(float)
        self.t += 1
        self._draw()
        over = self.t >= self.episode_limit // (1 + self.uneven * (self.episode % 2))
        return self.get_obs(), rewards.sum() if self.common_reward else rewards, over, False, {}

    def get_obs(self) -> list[np.ndarray]:
        size = 3 if self.grows and self.t else 2
        return list(np.eye(size, dtype=np.float32)[self.lamps] * self.there[:, None])

    def get_state(self) -> np.ndarray:
        return np.eye(2, dtype=np.float32)[self.lamps].flatten()

    def get_avail_actions(self) -> list[list[int]]:
        return [[0, 1, 1] if there else [1, 0, 0] for there in self.there]

    def get_obs_size(self) -> int:
        return 2

    def get_state_size(self) -> int:
        return 2 * self.n_agents

    def get_total_actions(self) -> int:
        return 3


@pytest.fixture
def lamps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str]:
    """The environment yaml of ``LampsEnv`` for the embedded host, five agents, runner ``episode``."""

    def write(*, horizon: int, uneven: bool = False, grows: bool = False, **settings: Any) -> str:
        monkeypatch.setitem(envs.REGISTRY, "lamps", LampsEnv)
        env_args = {"key": "lamps", "n_agents": 5, "horizon": horizon, "uneven": uneven, "grows": grows}
        top = {"env": "lamps", "runner": "episode", "common_reward": False, "gamma": 1.0}
        path = tmp_path / "lamps.yaml"
        path.write_text(
            yaml.safe_dump({**top, "t_max": 400, "test_interval": 400, **settings, "env_args": env_args})
        )
        return str(path)

    return write
