"""The sampler against the tables: laws by chi-square, rewards to rounding, and whom an agent meets."""

import torch
from torch import Tensor

from ...functional.distributions import count_values
from ...functional.goodness_of_fit import goodness_of_fit, mean_p_values
from ..base import PopulationGame
from .subject import TOLERANCE, Drawn, NotApplicable, Rows, Subject, Wrong, need_tables, require


def check_initial_law(subject: Subject) -> str:
    game = subject.game
    batch_size = max(20, -(-subject.draws // game.n_agents))
    states = torch.cat([game.reset(n) for n in (batch_size // 2, batch_size - batch_size // 2)])
    by_type = torch.stack(
        [
            count_values(states[:, subject.type_of == t].reshape(1, -1), game.n_states)[0]
            for t in range(len(subject.types))
        ]
    )  # [T, S]
    fit = goodness_of_fit(by_type, game.initial_law.expand(len(by_type), -1))
    require(fit.impossible.sum().item() == 0, "reset drew a state of probability zero")
    p = min(fit.overall.item(), fit.p_values.min().item() * len(by_type))
    require(p > subject.level, f"reset does not draw initial_law (p = {p:.1g})")
    spread = count_values(states, game.n_states).double()  # [B, S]
    excess = _overdispersion(spread, game.initial_law)
    require(excess > subject.level, f"agents or episodes of reset are not independent (p = {excess:.1g})")
    return f"p = {p:.2g}"


def _overdispersion(counts: Tensor, law: Tensor) -> float:
    """P-value that counts [B, S] of N agents in B episodes spread as independent draws of the law do.

    sum_b sum_s (count - N p)^2 / (N p) is chi-square with B (S - 1) degrees for large N p.
    """
    due = counts.sum(1, keepdim=True) * law  # [B, S]
    common = due[0] >= 5
    if common.sum() < 2:
        return 1.0
    terms = ((counts - due) ** 2 / due.clamp(min=1e-9))[:, common].sum()
    degrees = torch.tensor(len(counts) * (int(common.sum()) - int(bool(common.all()))))
    return torch.special.gammaincc(degrees.double() / 2, terms.cpu().double() / 2).item()


def check_laws(subject: Subject) -> str:
    need_tables(subject.game)
    rows, counts = subject.others, _of(subject.drawn, subject.others)
    fit = goodness_of_fit(counts, rows.laws)
    if (fit.impossible > 0).any():
        worst = int(fit.impossible.argmax())
        raise Wrong(f"{_group(subject, rows, counts, worst)}: a next state of probability zero was drawn")
    worst = int(fit.p_values.argmin())
    p = min(1.0, fit.p_values[worst].item() * len(counts), fit.overall.item())
    require(p > subject.level, f"{_group(subject, rows, counts, worst)} (p = {p:.1g})")
    return f"{len(counts)} groups of agents, {int(counts.sum()):,} draws, p = {p:.2g}"


def _of(drawn: Drawn, rows: Rows) -> Tensor:
    """The counts [K, S] of the rows' groups."""
    return drawn.counts[rows.profile, rows.type, rows.cell]


def _group(subject: Subject, rows: Rows, counts: Tensor, k: int) -> str:
    """One group of agents in words, with what was drawn and what should have been."""
    state, action = divmod(int(rows.cell[k]), subject.game.n_actions)
    seen = counts[k].double() / counts[k].sum().clamp(min=1)
    most = int((seen - rows.laws[k]).abs().argmax())
    return (
        f"P(s' = {most} | s = {state}, a = {action}, u = {subject.types[rows.type[k]].item():g}) is "
        f"{rows.laws[k, most].item():.4f} in transition_table and {seen[most].item():.4f} in "
        f"{int(counts[k].sum())} draws"
    )


def check_rewards(subject: Subject) -> str:
    rewards = torch.cat([subject.drawn.rewards.reshape(-1), subject.play()[1].reshape(-1)])
    require(bool(rewards.isfinite().all()), "rewards that are not finite were paid")
    low, high = rewards.min().item(), rewards.max().item()
    inside = low >= -TOLERANCE and high <= 1 + TOLERANCE
    require(inside, f"rewards from {low:g} to {high:g} were paid, not in [0, 1]")
    if not subject.game.has_tables:
        return f"from {low:.3g} to {high:.3g}"
    if subject.game.random_rewards:
        p, message = _mean_misfit(subject, subject.others)
        require(p > subject.level, f"{message} (p = {p:.1g})")
        return f"reward_table in the mean, p = {p:.2g}, from {low:.3g} to {high:.3g}"
    error, where = _reward_error(subject, subject.others)
    require(error <= TOLERANCE, f"step pays {error:.2g} more or less than reward_table {where}")
    return f"equal to reward_table, from {low:.3g} to {high:.3g}"


def _reward_error(subject: Subject, rows: Rows) -> tuple[float, str]:
    """Largest distance of the rewards paid from the rows', and where."""
    n_profiles, n_types, n_cells = len(subject.profiles), len(subject.types), subject.n_cells
    table = rows.rewards.new_full((n_profiles, n_types + 1, n_cells), torch.nan)
    table[rows.profile, rows.type, rows.cell] = rows.rewards
    which = subject.type_of * n_cells + subject.profiles  # [P, N]
    errors = (table.reshape(n_profiles, -1).gather(1, which) - subject.drawn.rewards.double()).abs()
    errors = errors.nan_to_num(0.0)
    worst = int(errors.argmax())
    state, action = divmod(int(subject.profiles.reshape(-1)[worst]), subject.game.n_actions)
    u = subject.game.personal[worst % subject.game.n_agents].item()
    return errors.max().item(), f"at s = {state}, a = {action}, u = {u:g}"


def _mean_misfit(subject: Subject, rows: Rows) -> tuple[float, str]:
    """P-value of the mean rewards drawn by every group against the rows', and the group that fits worst."""
    drawn = subject.drawn
    paid = drawn.paid[rows.profile, rows.type, rows.cell]
    n_draws = _of(drawn, rows).sum(-1)
    mean = (rows.rewards * n_draws).sum() / n_draws.sum()
    p_values = mean_p_values(paid, n_draws, rows.rewards, rounding=TOLERANCE)
    together = mean_p_values(paid.sum(), n_draws.sum(), mean, rounding=TOLERANCE)
    worst = int(p_values.argmin())
    state, action = divmod(int(rows.cell[worst]), subject.game.n_actions)
    message = (
        f"the mean reward at s = {state}, a = {action}, u = {subject.types[rows.type[worst]].item():g} is "
        f"{rows.rewards[worst].item():.4f} in reward_table and "
        f"{(paid[worst] / n_draws[worst].clamp(min=1)).item():.4f} in {int(n_draws[worst])} draws"
    )
    return min(1.0, p_values[worst].item() * len(p_values), together.item()), message


def check_others(subject: Subject) -> str:
    """An agent meets the others and not itself (or everyone, where the game says so)."""
    game = subject.game
    own_step = type(game).step is not PopulationGame.step
    if not own_step:
        _check_states_met(subject)
    if game.has_tables:
        _check_convention(subject)
    elif own_step:
        raise NotApplicable("a step of its own and no tables: nothing tells whom an agent meets")
    return "an agent meets everyone" if game.population == "all" else "an agent meets the others alone"


def _check_states_met(subject: Subject) -> None:
    """`state_distribution_met` against counting, and blind to what the agent itself does."""
    game = subject.game
    states = subject.profiles // game.n_actions
    met = game.state_distribution_met(states)
    shape = [len(states), game.n_states, game.n_states]
    require(list(met.shape) == shape, f"state_distribution_met has shape {list(met.shape)}, not {shape}")
    counts = count_values(states, game.n_states).double()
    for i in range(min(game.n_agents, 8)):
        own = torch.nn.functional.one_hot(states[:, i], game.n_states)
        everyone = game.population == "all"
        true = counts / game.n_agents if everyone else (counts - own) / (game.n_agents - 1)
        error = (met[torch.arange(len(states)), states[:, i]] - true).abs().max().item()
        require(error < 1e-6, f"state_distribution_met is off by {error:.2g} for an agent of a small crowd")


def _check_convention(subject: Subject) -> None:
    """Rewards or laws that fit the population an agent does not meet, and not the one it does."""
    game = subject.game
    right, wrong = (_rewards_fit(subject, rows) for rows in (subject.others, subject.opposite))
    if wrong and not right:
        raise Wrong(_whom(game))
    fits = [
        goodness_of_fit(_of(subject.drawn, rows), rows.laws) for rows in (subject.others, subject.opposite)
    ]
    p, q = (0.0 if fit.impossible.any() else min(fit.overall.item(), _least(fit.p_values)) for fit in fits)
    if p < subject.level < q:
        raise Wrong(_whom(game))


def _rewards_fit(subject: Subject, rows: Rows) -> bool:
    """Whether what was paid is what the rows say."""
    if subject.game.random_rewards:
        return _mean_misfit(subject, rows)[0] > subject.level
    return _reward_error(subject, rows)[0] <= TOLERANCE


def _least(p_values: Tensor) -> float:
    return p_values.min().item() * len(p_values)


def _whom(game: PopulationGame) -> str:
    if game.population == "all":
        return "population is all, but rewards or laws are those of an agent that leaves itself out"
    return "rewards or laws are those of an agent that counts itself among those it meets"
