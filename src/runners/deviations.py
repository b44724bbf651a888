"""What agents of each type could gain by deviating from whatever was played."""

import torch
from torch import Tensor

from ..functional.distributions import count_values
from ..functional.frozen_flows import Bracket, FrozenFlows, deviation_gain
from ..games import PopulationGame


class DeviationScore:
    """Accumulates test episodes, then brackets the N-player exploitability by frozen flows.

    Agents with the same personal parameter are of one type. In every episode a reference agent of
    each type is drawn; the others' play as it met them, itself left out, makes the decision
    problem of a deviator of its type (see ``functional.frozen_flows``). What the type played is
    E#(h, s, a) / E#(h, s) over its agents, whose value along a flow is the mean of theirs, however
    their own policies are made.

    Args:
        game: with tables, on whose device everything is counted.
    """

    def __init__(self, game: PopulationGame) -> None:
        self.game = game
        self.personal, self.type_of, self.sizes = torch.unique(
            game.personal, return_inverse=True, return_counts=True
        )  # [G], [N], [G]
        n_types = len(self.personal)
        shape = (n_types, game.horizon, game.n_states, game.n_actions)
        self.played = torch.zeros(shape, dtype=torch.float64, device=game.device)
        self.met: list[list[Tensor]] = [[] for _ in range(game.horizon)]  # by step, [B, G, S, A] a batch
        self.reference: Tensor | None = None  # [B, G]

    def add_actions(self, t: int, states: Tensor, actions: Tensor) -> Tensor:
        """Add what all agents did at step t, [B, N] int64 each; returns their counts [B, S, A]."""
        game, n_types = self.game, len(self.personal)
        n_cells = game.n_states * game.n_actions
        cells = states * game.n_actions + actions
        if t == 0:
            self.reference = self.draw_reference(states.shape[0])
        assert self.reference is not None
        by_type = count_values(self.type_of * n_cells + cells, n_types * n_cells).double()
        by_type = by_type.reshape(-1, n_types, game.n_states, game.n_actions)  # [B, G, S, A]
        self.played[:, t] += by_type.sum(0)
        counts = by_type.sum(1)  # [B, S, A]
        own = torch.nn.functional.one_hot(cells.gather(1, self.reference), n_cells)  # [B, G, S * A]
        others = counts.unsqueeze(1) - own.reshape(by_type.shape)
        self.met[t].append(others / (game.n_agents - 1))
        return counts

    def draw_reference(self, batch_size: int) -> Tensor:
        """One agent of each type in every episode, uniformly, from torch's global generator: [B, G]."""
        members = [(self.type_of == g).nonzero().squeeze(1) for g in range(len(self.personal))]
        draws = [m[torch.randint(len(m), (batch_size,), device=m.device)] for m in members]
        return torch.stack(draws, 1)

    def brackets(self) -> list[Bracket]:
        """The gain of a deviator of each type; empty with fewer than 4 episodes."""
        mu = torch.stack([torch.cat(batches) for batches in self.met], 2)  # [B, G, H, S, A]
        if mu.shape[0] < 4:
            return []
        visits = self.played.sum(-1, keepdim=True)
        policies = torch.where(visits > 0, self.played / visits.clamp(min=1), 1 / self.game.n_actions)
        result = []
        for g, u in enumerate(self.personal.double()):
            cells = mu[:, g].shape  # tables that do not read mu may come without its batch axes
            transition = self.game.transition_table(mu[:, g], u).expand(*cells, -1)
            reward = self.game.reward_table(mu[:, g], u).expand(cells)
            flows = FrozenFlows(transition, reward, self.game.initial_law)
            result.append(deviation_gain(flows, policies[g]))
        return result

    def scores(self) -> dict[str, float]:
        """The mean over agents and the maximum over types, each with its ends.

        The ends of the mean are the means of the types' ends; those of the maximum the largest of
        the types' ends. Nothing with fewer than 4 episodes.
        """
        brackets = self.brackets()
        if not brackets:
            return {}
        ends = torch.tensor([(b.estimate, b.lower, b.upper) for b in brackets], dtype=torch.float64)
        weights = (self.sizes / self.sizes.sum()).double().cpu()
        mean, largest = weights @ ends, ends.max(0).values
        names = ("", "_lower", "_upper")
        return {
            **{f"exploitability_mean{name}": value for name, value in zip(names, mean.tolist(), strict=True)},
            **{
                f"exploitability_max{name}": value
                for name, value in zip(names, largest.tolist(), strict=True)
            },
            "exploitability_too_weak": float(any(b.too_weak for b in brackets)),
        }
