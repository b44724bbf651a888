"""What controllers of a population share: sizes, and how agents' actions are drawn from rows of a policy."""

from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor

from ..functional.integers import smallest_integer
from ..functional.sampling import actions_drawn, inverse_cdf_thresholds
from .checks import require_population


class Sampler(Protocol):
    """Draws one action an agent."""

    def select_action(self, policy: Tensor, rows: Tensor, /) -> Tensor:
        """Rows of a policy and every agent's row [B, N], integers -> actions [B, N], integers."""
        ...


class InverseCDFSampler:
    """Draws one action an agent by inverting the distribution function of its state's row.

    Draws come from torch's global generator, as those of the host's own action selectors do.
    """

    def select_action(self, policy: Tensor, states: Tensor) -> Tensor:
        """pi [B or 1, S, A] and states [B, N] -> actions [B, N], int64 for int64, else a small type too."""
        dtype = states.dtype if states.dtype == torch.int64 else smallest_integer(policy.shape[-1])
        draws = torch.rand(states.shape, device=states.device)
        return actions_drawn(inverse_cdf_thresholds(policy), states, draws, dtype=dtype)


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

    @property
    def draws_from_thresholds(self) -> bool:
        """Whether ``thresholds`` tells all of how actions are drawn: by no sampler or selection of one's own.

        A runner may then draw them itself. A subclass that gives other ``thresholds`` to go with its own way
        of selecting declares it.
        """
        drawn_by = (self.select_actions, self.action_selector.select_action)
        ours = (PopulationMAC.select_actions, InverseCDFSampler.select_action)
        return tuple(getattr(method, "__func__", None) for method in drawn_by) == ours

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
