"""Exploitability of Symm-PMD against epochs (Yardim & He 2025, Thm 13).

    python benchmarks/theory/epochs.py [--epochs 1000] [--seeds 3] [--out results/theory] [--quick]

Thm 13, for monotone games: O~(eps^-4) epochs of O(eps^-2) episodes for an O(eps/tau + tau)-equilibrium,
besides alpha, beta and 1/sqrt N. At a fixed tau that is eps ~ T^(-1/4) after T epochs, down to a floor of
order tau; with the best tau for each T, tau = sqrt(eps), it is T^(-1/8). Drawn is T^(-1/4). *Paper's*: xi_t
= 1/sqrt(t+1), w_t = 1/(t+1), the average of all iterates; *default*: those of mf_pmd_tabular.yaml, the mean
of the last half. Q is learnt from M episodes an epoch by mf_pmd_tabular on the embedded host, or taken
exactly from the tables of the induced game (*exact Q*). a_beach is monotone; the theorem does not cover
a_sis and a_rps. Mean-field exploitability, exact; slopes are fitted to the last decade of epochs, their
errors are over seeds. Nine minutes on one core.
"""

from collections.abc import Iterator, Sequence

import common
import torch
from common import make_game
from pictures import Line, panels, report, write
from td_learning import with_entropy
from torch import Tensor
from training import Training

from mf_pmd.functional.exploitability import mean_field_exploitability
from mf_pmd.functional.mean_field import mean_field_flow, tabular_policy
from mf_pmd.functional.mirror_descent import mirror_descent_step, mixing_weight, step_size
from mf_pmd.functional.online_mirror_descent import policy_q_values

LAW = -0.25
LITERAL = ("c_xi=1.0", "c_mix=1.0", "mix_offset=1.0")
TAU = 0.015  # the default's
TAUS = (0.4, 0.1, 0.025)
GAMES = ("a_beach", "a_sis", "a_rps")
LAST_DECADE = 10


def looked_at(epochs: int) -> list[int]:
    """Epochs 1, 2, 3, 5, 7, 10, 20, ... at which the policy is scored."""
    marks = [step * 10**decade for decade in range(6) for step in (1, 2, 3, 5, 7)]
    return [mark for mark in marks if mark < epochs] + [epochs]


def learnt(
    key: str, *, episodes: int, default: bool, marks: Sequence[int], agents: int, seed: int
) -> list[float]:
    """Exploitability of what mf_pmd_tabular returns after so many epochs."""
    sizes = [f"{name}={episodes}" for name in ("batch_size_run", "batch_size", "buffer_size")]
    words = (*sizes, f"tau={TAU}", *(() if default else LITERAL))
    training = Training("mf_pmd_tabular", key, agents=agents, threads=1, device="cpu", words=words, seed=seed)
    model, name = training.runner.game.mean_field_model(), "tail" if default else "average"
    found, done = [], 0
    for mark in marks:
        training.epochs(mark - done)
        done = mark
        policy = training.learner.mac.scored_policies()[name]
        found.append(mean_field_exploitability(model, policy).item())
    return found


def exact(key: str, *, tau: float, marks: Sequence[int]) -> list[float]:
    """The same with the paper's schedule and Q^{tau,pi} of the induced game in place of TD."""
    game = make_game(key, n_agents=2)
    model = game.mean_field_model()
    averages = averages_of_exact_steps(model, tau=tau, n_actions=game.n_actions)
    wanted, found = set(marks), []
    for epoch, average in enumerate(averages, 1):
        if epoch in wanted:
            found.append(mean_field_exploitability(model, tabular_policy(average)).item())
        if epoch == max(marks):
            break
    return found


def averages_of_exact_steps(model, *, tau: float, n_actions: int) -> Iterator[Tensor]:
    """(1/(T+1)) sum_{t<=T} pi_t for T = 1, 2, ... of Alg. 2 with exact Q, [H, S, A] float64."""
    shape = (model.horizon, len(model.initial_law), n_actions)
    log_policy = torch.log_softmax(torch.zeros(shape, dtype=torch.float64), -1)
    total, epoch = log_policy.exp(), 0
    while True:
        flow = mean_field_flow(model, tabular_policy(log_policy.exp()))
        steps = {"xi": step_size(epoch, 1.0), "mixing": mixing_weight(epoch, 1.0, 1.0)}
        q_values = policy_q_values(with_entropy(flow, tau))
        log_policy = mirror_descent_step(log_policy, q_values, tau=tau, **steps)
        total, epoch = total + log_policy.exp(), epoch + 1
        yield total / (epoch + 1)


def of_game(key: str, options) -> list[Line]:
    """All curves of one game at the default tau."""
    marks = looked_at(options.epochs)
    late = [mark * LAST_DECADE >= options.epochs for mark in marks]

    def line(label: str, marker: str, law: float | None, **settings) -> Line:
        samples = [
            learnt(key, marks=marks, agents=options.agents, seed=seed, **settings)
            for seed in range(1, options.seeds + 1)
        ]
        return Line(label, marks, torch.tensor(samples, dtype=torch.float64), law, among=late, marker=marker)

    lines = [
        line(f"paper's, M = {episodes}", "o", LAW, episodes=episodes, default=False)
        for episodes in options.episodes
    ]
    ideal = torch.tensor([exact(key, tau=TAU, marks=marks)], dtype=torch.float64)
    lines.append(Line("paper's, exact Q", marks, ideal, LAW, among=late, marker="s"))
    lines.append(line("default, M = 10", "^", None, episodes=10, default=True))
    return lines


def of_tau(options) -> list[Line]:
    """The paper's schedule with exact Q on a_beach at several tau: the floor that tau is."""
    marks = looked_at(options.long)
    late = [mark * LAST_DECADE >= options.long for mark in marks]
    return [
        Line(
            f"tau = {tau}, exact Q",
            marks,
            torch.tensor([exact("a_beach", tau=tau, marks=marks)], dtype=torch.float64),
            LAW,
            among=late,
        )
        for tau in TAUS
    ]


def main(words: Sequence[str] | None = None) -> int:
    """Print the tables and draw the figure."""
    options = common.options_of(
        __doc__,
        words,
        epochs=(1000, 10, "T, epochs of policy mirror descent"),
        long=(3000, 10, "T of the panel against tau"),
        seeds=(3, 3, "seeds of every curve from samples"),
        episodes=((1, 10, 100), (1, 2), "M, episodes an epoch"),
        agents=(100, 10, "N"),
        games=(GAMES, GAMES[:1], "games"),
    )
    figure, axes = panels(len(options.games) + 1)
    shown = {"x": "T, epochs", "y": "mean-field exploitability, reward units", "theorem": "Thm 13"}
    for panel, key in zip(axes, options.games, strict=False):
        covered = (
            "monotone" if make_game(key, n_agents=2).constants.monotone else "not covered by the theorem"
        )
        report(panel, of_game(key, options), title=f"{key}, {covered}", **shown)
    report(axes[-1], of_tau(options), title="a_beach, paper's schedule", **shown)
    write(figure, options.out / "epochs.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
