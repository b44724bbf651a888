"""The command line: ``mf-pmd train``, ``compare``, ``symmetry``, ``exploitability``, and the smaller verbs.

This is the composition root: it alone knows the host, the plugin and the evaluation, and introduces them
to each other. What a verb needs is imported inside it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .errors import UserError
from .words import Parser, names_given, require_seed, settings_given, split_host, whole_numbers

PACKAGE = Path(__file__).resolve().parent
CONFIG_ROOTS = (PACKAGE / "config", PACKAGE / "host" / "config")
REFUSED = 2
INTERRUPTED = 130
THEORY_METHODS = "closed-form, enumeration, kernels, trajectories"
QUICK_LOOK = {"algs": "mf_pmd,ipmd,ippo,mappo", "envs": "a_sis,a_rps"}

DESCRIPTION = "Approximate Nash equilibria of games with thousands of nearly identical agents."
VERBS_HELP = """verbs:
  train --config=ALG --env-config=ENV [with key=value ...]
                        train, or test a checkpoint (with evaluate=True checkpoint_path=...)
  train --host PATH ... the same in an EPyMARL checkout, which is left as it is
  compare --algs A,B --envs X,Y --seeds K [with key=value ...]
                        run the grid, or reuse its finished runs: a table and figures
  plot RESULTS          the same of any results folder, EPyMARL's too
  symmetry --env-config=ENV [with key=value ...]
                        how unequal the agents of a game are, and what that promises
  exploitability CHECKPOINT
                        how far what was learnt is from an equilibrium
  render CHECKPOINT     where on a game's map the agents are, step by step: a picture and an animation
  list algs|envs        the algorithms, or the environments
  config ALG ENV [with key=value ...]
                        the merged configuration with its comments
  attach PATH           make an EPyMARL checkout know our algorithms and games
  detach PATH           undo it
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the words after the program's name; those of this process if None.

    Returns:
        The exit status: 0, 2 for what a user can mend, 130 after Ctrl-C.
    """
    try:
        options = _top_parser().parse_args(argv)
        return VERBS[options.verb](options.words)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _top_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="mf-pmd",
        description=DESCRIPTION,
        epilog=VERBS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mf-pmd {__version__}")
    parser.add_argument("verb", choices=list(VERBS), metavar="VERB", help="what to do, see below")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help="see below")
    return parser


def _train(words: Sequence[str]) -> int:
    checkout, words = split_host(words)
    if checkout is not None:
        from . import launcher

        return launcher.train(checkout, words)
    parser = Parser(
        prog="mf-pmd train",
        description="Train, or test a checkpoint. `mf-pmd config ALG ENV` lists the settings.",
    )
    parser.add_argument("--config", metavar="ALG", help="algorithm: a name or a yaml file")
    parser.add_argument("--env-config", metavar="ENV", help="environment: a name or a yaml file")
    parser.add_argument("--host", metavar="PATH", help="run in this EPyMARL checkout instead")
    parser.add_argument("settings", nargs="*", default=[], metavar="with key=value", help="changes")
    options = parser.parse_intermixed_args(words)
    from .host.utils.config import load_config

    config = load_config(options.config, options.env_config, settings_given(options.settings), CONFIG_ROOTS)
    _register()
    from .host.run import train
    from .host.utils.memory import memory_told

    with memory_told(config):
        train(config, finish=_draw_figures, draw=_draw_test)
    return 0


def _list(words: Sequence[str]) -> int:
    parser = Parser(prog="mf-pmd list", description="What there is.")
    parser.add_argument("kind", choices=["algs", "envs"], help="algorithms or environments")
    options = parser.parse_args(words)
    from .host.utils.config import catalogue, describe

    files = catalogue(options.kind, CONFIG_ROOTS)
    width = max(map(len, files), default=0)
    for name, path in files.items():
        print(f"{name:<{width}}  {describe(path)}")
    return 0


def _config(words: Sequence[str]) -> int:
    parser = Parser(prog="mf-pmd config", description="The merged configuration with its comments.")
    parser.add_argument("alg", metavar="ALG", help="algorithm")
    parser.add_argument("env", metavar="ENV", help="environment")
    parser.add_argument("settings", nargs="*", default=[], metavar="with key=value", help="changes")
    options = parser.parse_args(words)
    from .host.utils.config import load_settings, render

    print(render(load_settings(options.alg, options.env, settings_given(options.settings), CONFIG_ROOTS)))
    return 0


def _attach(words: Sequence[str]) -> int:
    from .attach import attach

    print(attach(_checkout("attach", words)))
    return 0


def _detach(words: Sequence[str]) -> int:
    from .attach import detach

    print(detach(_checkout("detach", words)))
    return 0


def _compare(words: Sequence[str]) -> int:
    parser = Parser(
        prog="mf-pmd compare",
        description="Run a grid at equal environment steps, or reuse its runs; write a table and figures.",
    )
    add = parser.add_argument
    add("--algs", default=QUICK_LOOK["algs"], metavar="A,B", help="algorithms; default %(default)s")
    add("--envs", default=QUICK_LOOK["envs"], metavar="X,Y", help="environments; default %(default)s")
    add("--seeds", type=int, default=3, metavar="K", help="seeds 1 to K of each; default %(default)s")
    add("--t-max", type=int, metavar="T", help="environment steps of each run; default: each environment's")
    add("--results", default="results", metavar="DIR", help="of the runs; default %(default)s")
    add("--out", metavar="DIR", help="of table and figures; default RESULTS/compare")
    jobs = min(2, os.cpu_count() or 1)  # each run takes one thread
    add("--jobs", type=int, default=jobs, metavar="J", help="runs side by side; default %(default)s")
    add("settings", nargs="*", default=[], metavar="with key=value", help="changes for all runs")
    options = parser.parse_intermixed_args(words)
    from .host.utils.config import load_config

    algorithms = names_given("algs", options.algs, CONFIG_ROOTS)
    games = names_given("envs", options.envs, CONFIG_ROOTS)
    from .evaluation import verbs

    return verbs.compare(
        algorithms,
        {game: _environment(game) for game in games},
        options.seeds,
        settings_given(options.settings),
        results=Path(options.results),
        out=Path(options.out) if options.out else None,
        t_max=options.t_max,
        jobs=options.jobs,
        configure=lambda alg, env, words: load_config(alg, env, words, CONFIG_ROOTS),
        main=PACKAGE / "main.py",
    )


def _plot(words: Sequence[str]) -> int:
    parser = Parser(prog="mf-pmd plot", description="Table and figures of any results folder.")
    parser.add_argument("results", metavar="RESULTS", help="results folder of ours or of EPyMARL's")
    parser.add_argument("--out", metavar="DIR", help="of table and figures; default RESULTS/plots")
    options = parser.parse_args(words)
    from .evaluation import verbs

    return verbs.plot(Path(options.results), Path(options.out) if options.out else None)


def _symmetry(words: Sequence[str]) -> int:
    parser = Parser(
        prog="mf-pmd symmetry",
        description="alpha, beta and the Lipschitz constants of a game, and the certificate that they make.",
    )
    add = parser.add_argument
    add("--env-config", metavar="ENV", help="environment: a name or a yaml file")
    add("--method", metavar="M,M", help=f"of {THEORY_METHODS}; default: the most exact, and trajectories")
    add("--episodes", type=int, default=200, metavar="E", help="played for trajectories; %(default)s")
    add("--policy", metavar="CHECKPOINT", help="that plays them; default: every action alike")
    add("--seed", type=int, default=0, metavar="K", help="of all draws; default %(default)s")
    add("--json", action="store_true", help="print one JSON object")
    add("settings", nargs="*", default=[], metavar="with key=value", help="changes")
    options = parser.parse_intermixed_args(words)
    require_seed(options.seed)
    env_args = _environment(options.env_config, settings_given(options.settings))["env_args"]
    from .evaluation import theory_verbs

    return theory_verbs.symmetry(
        env_args,
        methods=options.method.split(",") if options.method else None,
        n_episodes=options.episodes,
        policy=options.policy,
        seed=options.seed,
        as_json=options.json,
    )


def _exploitability(words: Sequence[str]) -> int:
    options = _exploitability_parser().parse_intermixed_args(words)
    require_seed(options.seed)
    env_args = _game_named(options.env_config, settings_given(options.settings))
    if options.trained:
        from .evaluation.trained_response.verb import trained_exploitability

        return trained_exploitability(
            options.checkpoint,
            env_args,
            policy=options.policy,
            n_episodes=options.episodes,
            seed=options.seed,
            budget=options.budget,
            start=options.start,
            sees=options.sees,
            out=Path(options.out) if options.out else None,
            print_json=options.json,
        )
    for name in ("budget", "start", "sees", "out"):
        if getattr(options, name) is not None:
            raise UserError(f"--{name}={getattr(options, name)}: is of trained best responses, add --trained")
    from .evaluation import theory_verbs

    return theory_verbs.exploitability(
        options.checkpoint,
        env_args,
        policy=options.policy,
        n_episodes=options.episodes,
        seed=options.seed,
        as_json=options.json,
    )


def _exploitability_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="mf-pmd exploitability",
        description="Exploitability of a learnt policy: mean-field, N-player, and what theory promises; or, "
        "in any game, what a trained best response finds of it, a lower bound.",
    )
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="models/TOKEN, models/TOKEN/T_ENV or a results folder")
    add("--env-config", metavar="ENV", help="judge it in this game; default: the one it was trained in")
    add("--policy", metavar="NAME", help="last, average or tail; default: the run's output_policy")
    add("--episodes", type=int, default=400, metavar="E", help="to play; default %(default)s")
    add("--seed", type=int, default=0, metavar="K", help="of all draws; default %(default)s")
    add("--json", action="store_true", help="print one JSON object")
    trained = parser.add_argument_group("trained best response")
    add = trained.add_argument
    add("--trained", action="store_true", help="train it; CHECKPOINT may be `uniform`, with --env-config")
    add("--budget", type=int, metavar="STEPS", help="of the deviators in training; default: 3 million")
    add("--start", metavar="POLICY", help="of the deviators: frozen, the others' (default), or uniform")
    add("--sees", metavar="WHAT", help="of the deviators: own_state (default), or population, no bound then")
    add("--out", metavar="DIR", help="of the learning curve; default: the checkpoint's folder, or results")
    parser.add_argument("settings", nargs="*", default=[], metavar="with key=value", help="of that game")
    return parser


def _render(words: Sequence[str]) -> int:
    parser = Parser(
        prog="mf-pmd render",
        description="The agents' density over the game's map by time, beside that of the uniform policy.",
    )
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="models/TOKEN, models/TOKEN/T_ENV or a results folder")
    add("--env-config", metavar="ENV", help="play in this game; default: the one it was trained in")
    add("--policy", metavar="NAME", help="last, average or tail; default: the run's output_policy")
    add("--episodes", type=int, default=8, metavar="E", help="played, and averaged; default %(default)s")
    add("--steps", metavar="H,H", help="that the picture shows; default: six, the first closer together")
    add("--seed", type=int, default=0, metavar="K", help="of all draws; default %(default)s")
    add("--out", metavar="DIR", help="of density.png and density.gif; default: the checkpoint's folder")
    add("settings", nargs="*", default=[], metavar="with key=value", help="changes of that game")
    options = parser.parse_intermixed_args(words)
    require_seed(options.seed)
    steps = whole_numbers("--steps", options.steps)
    env_args = _game_named(options.env_config, settings_given(options.settings))
    from .evaluation import render

    return render.render(
        options.checkpoint,
        env_args,
        policy=options.policy,
        n_episodes=options.episodes,
        seed=options.seed,
        steps=steps,
        out=Path(options.out) if options.out else None,
    )


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": _train,
    "compare": _compare,
    "plot": _plot,
    "symmetry": _symmetry,
    "exploitability": _exploitability,
    "render": _render,
    "list": _list,
    "config": _config,
    "attach": _attach,
    "detach": _detach,
}


def _environment(name: str | None, changes: Sequence[str] = ()) -> dict[str, Any]:
    """The settings of an environment's yaml, over the defaults and with changes over them."""
    from .host.utils.config import load_environment

    return load_environment(name, changes, CONFIG_ROOTS)


def _game_named(name: str | None, settings: list[str]) -> dict[str, Any] | None:
    """The ``env_args`` of the game that ``--env-config`` names, with its changes; None if it names none.

    Raises:
        UserError: changes of no game, or settings that the game has not.
    """
    if settings and not name:
        raise UserError(f"with {' '.join(settings)}: name the game that they change, --env-config=ENV")
    return _environment(name, settings)["env_args"] if name else None


def _checkout(verb: str, words: Sequence[str]) -> str:
    parser = Parser(prog=f"mf-pmd {verb}", description=f"{verb.capitalize()} an EPyMARL checkout.")
    parser.add_argument("path", metavar="PATH", help="the checkout")
    return parser.parse_args(words).path


def _register() -> None:
    """Fill the embedded host's registries with the plugin's pieces."""
    from . import register
    from .host import controllers, envs, learners, runners
    from .host.components.episode_batch import EpisodeBatch
    from .host.modules import agents, critics

    register.register(
        register.HostAPI(
            learners=learners.REGISTRY,
            controllers=controllers.REGISTRY,
            agents=agents.REGISTRY,
            critics=critics.REGISTRY,
            runners=runners.REGISTRY,
            envs=envs.REGISTRY,
            EpisodeBatch=EpisodeBatch,
        )
    )


def _draw_figures(results_dir: Path) -> None:
    from .evaluation import figures

    names = [picture.name for picture in figures.draw(results_dir)]
    logging.getLogger("mf_pmd").info("pictures: %s", ", ".join(names))


def _draw_test(arrays: Mapping[str, Any]) -> Mapping[str, Any]:
    from .evaluation.live_pictures import pictures_of_test

    return pictures_of_test(arrays)
