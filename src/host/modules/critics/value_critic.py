"""A value network on columns of a batch, what the individual and the central critic share."""

from collections.abc import Sequence
from types import SimpleNamespace

from torch import Tensor, nn
from torch.nn import functional as F

from ...components.distinct_rows import distinct_rows, distinct_rows_of, evaluate
from ...components.episode_batch import EpisodeBatch, Scheme


class ValueCritic(nn.Module):
    """A multilayer perceptron of some columns of a batch side by side and, if asked, of the agent's index.

    Nothing of size N x N is built. The first layer is a sum over the columns, so that what all agents share
    is not repeated for each; a one-hot index picks a column of its weights, and is not made. Without the
    index, the network is evaluated once for every distinct row (see ``components/distinct_rows.py``).

    Args:
        columns: names of what it sees: columns of all agents (``state``) or of each (``obs``).
        scheme: the completed scheme of the batches.
        args: ``hidden_dim``, ``obs_agent_id``, ``n_agents``.

    Attributes:
        reads: what it is given, see ``utils/registries.py``.
    """

    reads = "batches of episodes"

    def __init__(self, columns: tuple[str, ...], scheme: Scheme, args: SimpleNamespace):
        super().__init__()
        self.columns = columns
        self.of_all = tuple("group" not in scheme[column] for column in columns)
        self.n_agents = args.n_agents
        self.obs_agent_id = args.obs_agent_id
        self.sizes = [scheme[column]["vshape"] for column in columns]
        if args.obs_agent_id:
            self.sizes.append(args.n_agents)
        self.first = nn.Linear(sum(self.sizes), args.hidden_dim)
        self.rest = nn.Sequential(
            nn.ReLU(),
            nn.Linear(args.hidden_dim, args.hidden_dim),
            nn.ReLU(),
            nn.Linear(args.hidden_dim, 1),
        )

    def forward(self, batch: EpisodeBatch, t: int | slice | None = None) -> Tensor:
        """Values ``[B, T', N, 1]`` of the steps `t`: one step, a slice, or all."""
        steps = slice(t, t + 1) if isinstance(t, int) else t or slice(None)
        parts = []
        for column, of_all in zip(self.columns, self.of_all, strict=True):
            part = batch[column][:, steps].float()
            parts.append(part.unsqueeze(2) if of_all else part)  # [B, T', 1 or N, x]
        rows = None
        if not self.obs_agent_id:
            rows = distinct_rows_of(batch, self.columns, parts) if t is None else distinct_rows(parts)
        values = evaluate(self._values, parts, rows)
        return values.expand(-1, -1, self.n_agents, -1)

    def _values(self, parts: Sequence[Tensor]) -> Tensor:
        """``[..., 1]`` from parts ``[..., x]``; with the index, the agents' axis is the last but one."""
        weights = self.first.weight.split(self.sizes, dim=1)
        hidden: Tensor = self.first.bias
        for part, weight in zip(parts, weights, strict=False):
            hidden = hidden + F.linear(part, weight)
        if self.obs_agent_id:
            hidden = hidden + weights[-1].T  # [N, H]
        return self.rest(hidden)
