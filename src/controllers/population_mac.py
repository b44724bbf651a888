"""What controllers of a population share: sizes, and how agents' actions are drawn from rows of a policy."""

from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor

from ..functional.sampling import inverse_cdf_thresholds
from .checks import require_population


class Sampler(Protocol):
    """Draws one action an agent."""

    def select_action(self, policy: Tensor, rows: Tensor, /) -> Tensor:
        """Rows of a policy and every agent's row [B, N], integers -> actions [B, N], integers."""
        ...


class PopulationMAC:
    """Controller of agents whose policies are a few rows of probabilities, looked up by the agents.

    Subclasses set ``action_selector``, and say in ``_played`` which rows are played.

    Args:
        args: reads ``n_actions``, ``state_shape`` (S), ``observation``, ``population_info`` (set by the
            population runner).

    Raises:
        UserError: the environment has no discrete local states.
    """

    action_selector: Sampler

    def __init__(self, args: SimpleNamespace) -> None:
        require_population(args)
        self.args = args
        self.n_states: int = args.state_shape
        self.n_actions: int = args.n_actions
        self.horizon: int = args.population_info["horizon"]
        self.game: str = args.population_info["game"]

    @torch.no_grad()
    def select_actions(
        self,
        ep_batch: Any,
        t_ep: int,
        t_env: int,
        bs: slice | list[int] = slice(None),
        test_mode: bool = False,
    ) -> Tensor:
        """Sample the actions of all agents at step ``t_ep``: [len(bs), N].

        int64, but where the batch stores local states in a small integer type: then a small one too.
        """
        policy, rows = self._played(ep_batch, t_ep, bs, test_mode)
        return self.action_selector.select_action(policy, rows)

    def thresholds(self, ep_batch: Any, t: int, *, test_mode: bool = False) -> tuple[Tensor, Tensor]:
        """What actions are drawn from, if rows are shared: [B or 1, R, A - 1], and everyone's row [B, N]."""
        policy, rows = self._played(ep_batch, t, slice(None), test_mode)
        return inverse_cdf_thresholds(policy), rows

    def forward(self, ep_batch: Any, t: int, test_mode: bool = False) -> Tensor:
        """Action probabilities of all agents at step t, [B, N, A]."""
        policy, rows = self._played(ep_batch, t, slice(None), test_mode)
        policy = policy.expand(rows.shape[0], -1, -1)
        return torch.gather(policy, 1, rows.long().unsqueeze(-1).expand(-1, -1, self.n_actions))

    def _played(self, ep_batch: Any, t: int, bs: slice | list[int], test_mode: bool) -> tuple[Tensor, Tensor]:
        """What ``forward`` and the sampler look agents up in at step t, and every agent's row of it.

        Returns:
            R rows of the policy, [B or 1, R, A], and indices [B, N], of the batch's integer type or int64.
        """
        raise NotImplementedError
