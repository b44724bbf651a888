"""EPyMARL's own algorithms in a process of their own, one epoch at a time.

Run as a script it is that process: it assembles the pieces as EPyMARL's ``run.py`` does, then answers every
line on its standard input by a line of json, the seconds of one epoch and the peak of its memory. Imported,
it is the other end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from peaks import peak_bytes
from timing import Parts

CRITICS = ("ac.py", "centralV.py")
INDEX_LINES = ("inputs.append(th.eye(self.n_agents", "input_shape += self.n_agents")
"""How the two lines begin by which a critic of EPyMARL adds the one-hot index of the agent to its inputs."""


@contextlib.contextmanager
def upstream_epochs(
    home: Path,
    *,
    runner: str,
    agents: int,
    episodes: int,
    threads: int,
    algorithm: str = "ippo",
    index: bool = True,
) -> Iterator[Callable[[], Parts]]:
    """A function that lets EPyMARL play and learn once: ``{"total": seconds, "peak": bytes so far}``.

    Args:
        home: the checkout, which is only read.
        runner: ``population`` or ``parallel``.
        agents: N.
        episodes: of an epoch, played and learnt from.
        threads: of torch; EPyMARL itself takes 1.
        algorithm: a name of its ``config/algs``.
        index: whether its critics see the agent's one-hot index, as they do whatever ``obs_agent_id`` says;
            if not, a temporary copy of the checkout runs without the lines that add it.

    Raises:
        RuntimeError: the process ended early, or the checkout has no such lines.
    """
    with contextlib.ExitStack() as stack:
        if not index:
            copy = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            home = without_index(home, copy)
        options = {
            "runner": runner,
            "agents": agents,
            "episodes": episodes,
            "threads": threads,
            "algorithm": algorithm,
        }
        yield stack.enter_context(_epochs(home, options))


def without_index(home: Path, copy: Path) -> Path:
    """Copy a checkout's ``src`` into the folder ``copy``, its critics blind to the agent's index."""
    skipped = shutil.ignore_patterns("__pycache__", "results")
    shutil.copytree(home / "src", copy / "src", ignore=skipped)
    for name in CRITICS:
        file = copy / "src" / "modules" / "critics" / name
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if not line.strip().startswith(INDEX_LINES)]
        if len(lines) - len(kept) != len(INDEX_LINES):
            raise RuntimeError(f"{file} adds the agent's index otherwise than by {INDEX_LINES}")
        file.write_text("".join(kept), encoding="utf-8")
    return copy


@contextlib.contextmanager
def _epochs(home: Path, options: dict[str, Any]) -> Iterator[Callable[[], Parts]]:
    """The process and how it is asked, see :func:`upstream_epochs`."""
    words = [f"--{name}={value}" for name, value in options.items()]
    process = subprocess.Popen(
        [sys.executable, __file__, str(home), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore"},
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    requests, answers = process.stdin, process.stdout

    def epoch() -> Parts:
        try:
            print("epoch", file=requests, flush=True)
        except BrokenPipeError:
            raise RuntimeError(f"EPyMARL in {home} ended early, see its output above") from None
        answer = answers.readline()
        if not answer:
            raise RuntimeError(f"EPyMARL in {home} ended early, see its output above")
        parts: Parts = json.loads(answer)
        return parts

    try:
        yield epoch
    finally:
        with contextlib.suppress(BrokenPipeError):
            requests.close()
        process.wait(timeout=60)


def main() -> None:
    """Answer lines until there are no more."""
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--runner", required=True)
    parser.add_argument("--algorithm", required=True)
    for name in ("agents", "episodes", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever EPyMARL prints goes elsewhere
    epoch = assemble(options)
    for _ in sys.stdin:
        start = time.perf_counter()
        epoch()
        parts = {"total": time.perf_counter() - start, "peak": peak_bytes()}
        print(json.dumps(parts), file=answers, flush=True)


def assemble(options: argparse.Namespace) -> Callable[[], None]:
    """What EPyMARL's ``run_sequential`` sets up, and the body of its loop."""
    import logging

    import torch

    from mf_pmd import checkout

    torch.set_num_threads(options.threads)
    source = checkout.source_folder(options.home)
    sys.path.insert(0, str(source))
    checkout.join(source)
    from components.episode_buffer import ReplayBuffer
    from components.transforms import OneHot
    from utils.logging import Logger

    import controllers
    import learners
    import runners

    args = settings(source, options)
    torch.manual_seed(args.seed)
    logger = Logger(logging.getLogger("upstream"))
    runner = runners.REGISTRY[args.runner](args=args, logger=logger)
    sizes = runner.get_env_info()
    for key in ("n_agents", "n_actions", "state_shape"):
        setattr(args, key, sizes[key])
    scheme = {
        "state": {"vshape": sizes["state_shape"]},
        "obs": {"vshape": sizes["obs_shape"], "group": "agents"},
        "actions": {"vshape": (1,), "group": "agents", "dtype": torch.long},
        "avail_actions": {"vshape": (sizes["n_actions"],), "group": "agents", "dtype": torch.int},
        "terminated": {"vshape": (1,), "dtype": torch.uint8},
        "reward": {"vshape": (args.n_agents,)},
    }
    groups = {"agents": args.n_agents}
    preprocess = {"actions": ("actions_onehot", [OneHot(out_dim=args.n_actions)])}
    length = sizes["episode_limit"] + 1
    buffer = ReplayBuffer(scheme, groups, args.buffer_size, length, preprocess=preprocess, device="cpu")
    mac = controllers.REGISTRY[args.mac](buffer.scheme, groups, args)
    runner.setup(scheme=scheme, groups=groups, preprocess=preprocess, mac=mac)
    learner = learners.REGISTRY[args.learner](mac, buffer.scheme, logger, args)

    def epoch() -> None:
        batch = runner.run(test_mode=False)
        buffer.insert_episode_batch(batch)
        sample = buffer.sample(args.batch_size)
        learner.train(sample[:, : sample.max_t_filled()], runner.t_env, 0)

    return epoch


def settings(source: Path, options: argparse.Namespace) -> SimpleNamespace:
    """EPyMARL's defaults, our a_sis, EPyMARL's algorithm, and what is measured, merged in this order."""
    import yaml

    from mf_pmd import checkout

    merged: dict[str, Any] = {}
    for file in (
        source / "config" / "default.yaml",
        checkout.CONFIG / "envs" / "a_sis.yaml",
        source / "config" / "algs" / f"{options.algorithm}.yaml",
    ):
        merged |= yaml.safe_load(file.read_text(encoding="utf-8"))
    sizes = dict.fromkeys(("batch_size_run", "batch_size", "buffer_size"), options.episodes)
    merged |= sizes | {"runner": options.runner, "obs_agent_id": False, "use_cuda": False, "device": "cpu"}
    merged["seed"] = merged["env_args"]["seed"] = 1
    merged["env_args"]["n_agents"] = options.agents
    return SimpleNamespace(**merged)


if __name__ == "__main__":
    main()
