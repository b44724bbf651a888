"""Why learning from trajectories is slow on building_evacuation: the noise of the rewards that are seen.

    python benchmarks/reward_noise.py [--agents 10000,100000,1000000,10000000] [--epochs 100] [--seeds 1]
                                      [--game building_evacuation] [with key=value ...]

``mf_pmd_tabular`` with its defaults plays one counted episode an epoch (``runner=counts``, which costs the
same for any N). A reward -log(n(s) / N) is off by about 1 / sqrt(n(s)), so that ten times the agents should
take a tenth of the variance of all that is learnt. For each N the table has the exact exploitability of
``tail`` and ``last``, MFGLib's reward units, and the same where the rewards seen are replaced by the exact
ones along the mean field of the policy that was played: visits, transitions and cells that nobody visited
stay as sampled.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence

import torch
from tables import markdown
from training import Training

from mf_pmd.functional.cells import CellStatistics
from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import mean_field_flow, tabular_policy

NAMES = ("tail", "last")
ONE_EPISODE = ("batch_size_run=1", "batch_size=1", "buffer_size=1")


def with_exact_rewards(training: Training) -> None:
    """Let the learner see, in the cells that were visited, what the mean field pays."""
    learner, model = training.learner, training.runner.game.mean_field_model()
    learn = learner.update

    def update(statistics: CellStatistics) -> dict[str, float]:
        played = tabular_policy(learner.mac.history.mean("last").double())
        reward = mean_field_flow(model, played).reward.to(statistics.visits.dtype)
        return learn(statistics._replace(reward_sum=statistics.visits * reward))

    learner.update = update


def learn(options: argparse.Namespace, agents: int, seed: int, *, exact: bool) -> dict[str, float]:
    """Exploitability of ``tail`` and ``last`` after all epochs, MFGLib's reward units."""
    words = ("runner=counts", f"env_args.key={options.game}", *ONE_EPISODE, *options.words)
    training = Training(
        "mf_pmd_tabular", "mfglib", agents=agents, threads=1, device="cpu", words=words, seed=seed
    )
    if exact:
        with_exact_rewards(training)
    training.epochs(options.epochs)
    game, history = training.runner.game, training.learner.mac.history
    model = game.mean_field_model()
    policies = {name: tabular_policy(history.mean(name).double()) for name in NAMES}
    return {
        name: mean_field_exploitability(model, policy).item() / game.reward_factor
        for name, policy in policies.items()
    }


def row(options: argparse.Namespace, agents: int, *, exact: bool) -> list[str]:
    """A line of the table, medians over the seeds."""
    found = [learn(options, agents, seed, exact=exact) for seed in range(1, options.seeds + 1)]
    numbers = [statistics.median(one[name] for one in found) for name in NAMES]
    return [f"{agents:,}", "exact" if exact else "as seen", *(f"{number:.4f}" for number in numbers)]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The words of the command line; those after ``with`` go to the learner."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--agents", type=lambda told: [int(n) for n in told.split(",")], default=[10**k for k in range(4, 8)])
    add("--epochs", type=int, default=100)
    add("--seeds", type=int, default=1)
    add("--game", default="building_evacuation")
    add("words", nargs="*", metavar="with key=value")
    given = sys.argv[1:] if argv is None else argv
    return parser.parse_args([word for word in given if word != "with"])


def main(argv: Sequence[str] | None = None) -> int:
    """Learn and print the table."""
    options = parse(argv)
    torch.set_num_threads(1)
    rows = [row(options, agents, exact=exact) for agents in options.agents for exact in (False, True)]
    print(markdown(("N", "rewards", *NAMES), rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
