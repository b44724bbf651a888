"""A controller that gives every agent a table of its own."""

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.mean_field import Policy, tabular_policy
from ..functional.sampling import inverse_cdf_thresholds
from ..modules.policy_history import OUTPUT_POLICIES
from ..modules.running_history import RunningHistory
from .checks import require_playable
from .mean_field_controller import POLICY_FILE
from .population_mac import PopulationMAC

PRIVATE_TABLE = "private_table"  # what a checkpoint calls its agent
LARGEST_TABLE = 2**26  # entries; a run holds some 16 such tables of 4 bytes, 4 GiB


class PrivateSampler:
    """Draws one action an agent from its own row, by inverting its distribution function.

    Draws come from torch's global generator, as those of the host's own action selectors do.
    """

    def select_action(self, policy: Tensor, states: Tensor) -> Tensor:
        """pi^i [N, S, A] and states [B, N] int64 -> actions [B, N] int64."""
        n_agents, n_states, n_actions = policy.shape
        thresholds = inverse_cdf_thresholds(policy)  # [N, S, A - 1]
        row = torch.arange(n_agents, device=states.device) * n_states + states  # [B, N]
        draws = torch.rand(states.shape, device=states.device)
        actions = torch.zeros_like(states)
        for k in range(n_actions - 1):
            actions += draws >= thresholds[..., k].take(row)
        return actions


class PrivateTableMAC(PopulationMAC):
    """Controller of N policies pi^i_h(a | s), a table for each agent, uniform at first.

    Agent i is the i-th of the batch's agent axis; nothing of size N x N is built. In training it
    plays the last iterates, in test mode ``output_policy``, sampled; ``average`` and ``tail`` are
    arithmetic means of the agent's own iterates, per (h, s) (see RunningHistory for ``tail``).

    Attributes:
        shares_policy: False, for two agents in one state may act by different rows.
        log_table: log pi^i of the last iterates, [N, H, S, A].

    Args:
        scheme: the host's batch scheme.
        groups: the host's groups (not read).
        args: reads ``output_policy``, ``n_agents``, ``n_actions``, ``state_shape`` (S), ``observation``,
            ``population_info`` (set by the population runner).

    Raises:
        UserError: the environment has no discrete local states, a setting is not one of those
            offered, or the tables fit no memory.
    """

    shares_policy = False

    def __init__(self, scheme: dict, groups: dict, args: SimpleNamespace) -> None:
        super().__init__(args)
        self.n_agents: int = args.n_agents
        if args.output_policy not in OUTPUT_POLICIES:
            raise UserError(f"output_policy={args.output_policy}: choose one of {', '.join(OUTPUT_POLICIES)}")
        self.output_policy: str = args.output_policy
        shape = (self.n_agents, self.horizon, self.n_states, self.n_actions)
        require_tables(args.name, shape)
        self.log_table = torch.log_softmax(torch.zeros(shape), -1)
        self.action_selector = PrivateSampler()
        self.history = RunningHistory()
        self._tables: dict[str, Tensor] = {}
        self.record_iterate()

    # What a runner calls.

    def init_hidden(self, batch_size: int) -> None:
        """Start of a batch of episodes; the policies keep no memory, only tables of their rows."""
        self._tables.clear()

    def forward(self, ep_batch: Any, t: int, test_mode: bool = False) -> Tensor:
        """Action probabilities of all agents at step t, [B, N, A]."""
        policies, states = self._played(ep_batch, t, slice(None), test_mode)
        agents = torch.arange(self.n_agents, device=states.device)
        return policies[agents, states]

    def _played(self, ep_batch: Any, t: int, bs: slice | list[int], test_mode: bool) -> tuple[Tensor, Tensor]:
        """The policies played at step t, [N, S, A], and the state of every agent, [B, N] int64."""
        return self._rows(t, test_mode), ep_batch["obs"][bs, t, :, 0].long()

    def _rows(self, h: int, test_mode: bool) -> Tensor:
        """The policies played at step h, [N, S, A]."""
        name = self.output_policy if test_mode else "last"
        if name not in self._tables:
            self._tables[name] = require_playable(
                self.history.mean(name), name=f"the {name} policy of an agent"
            )
        return self._tables[name][:, h]

    # What a learner calls.

    @torch.no_grad()
    def record_iterate(self) -> None:
        """Append the current policies to the running sums that ``average`` and ``tail`` are made of."""
        self.history.append(self.log_table.exp())
        self._tables.clear()

    # What a judge calls.

    def mean_table(self, name: str) -> Tensor:
        """The agents' mean policy, (1/N) sum_i pi^i_h(a | s): [H, S, A] float32.

        Every agent weighs the same in every row, however seldom it is in that state. It is nobody's
        policy; for a population in which all act by it, it is the policy to score.
        """
        return self.history.mean(name).double().mean(0).float()

    def scored_policies(self) -> dict[str, Policy]:
        """``last``, ``average`` and ``tail`` of the agents' mean policy, (h, nu [S]) -> [S, A]."""
        return {name: tabular_policy(self.mean_table(name)) for name in OUTPUT_POLICIES}

    # The host's housekeeping.

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """A table has none."""
        return ()

    def load_state(self, other_mac: "PrivateTableMAC") -> None:
        """Copy the tables and the running sums from another controller."""
        self.log_table = other_mac.log_table.to(self.log_table.device, copy=True)
        self.history.load_state_dict(other_mac.history.state_dict(), self.log_table.device)
        self._tables.clear()

    def cuda(self) -> None:
        """Move the tables and the running sums to the GPU."""
        self.log_table = self.log_table.cuda()
        self.history.load_state_dict(self.history.state_dict(), "cuda")
        self._tables.clear()

    def save_models(self, path: str) -> None:
        """Write agent.th, and policy.th: the running sums, the agents' mean policies, what they are for."""
        torch.save({"log_table": self.log_table}, Path(path) / "agent.th")
        tables = {name: self.mean_table(name).cpu() for name in OUTPUT_POLICIES}
        saved = {"meta": self._meta(), "history": self.history.state_dict(), "tables": tables}
        torch.save(saved, Path(path) / POLICY_FILE)

    def load_models(self, path: str) -> None:
        """Restore what ``save_models`` wrote.

        Raises:
            UserError: the checkpoint is of another game, of other sizes N, S, A, H, or no private
                table's.
        """
        saved = torch.load(Path(path) / POLICY_FILE, map_location="cpu", weights_only=True)
        for key, here in self._meta().items():
            there = saved["meta"].get(key)
            if key != "output_policy" and there != here:
                raise UserError(
                    f"checkpoint_path={path}: its {key} is {there}, this run's is {here}; load it with the "
                    "settings it was trained with (its tables belong to its agents one by one)"
                )
        device = self.log_table.device
        self.log_table = torch.load(Path(path) / "agent.th", map_location=device, weights_only=True)[
            "log_table"
        ]
        self.history.load_state_dict(saved["history"], device)
        self._tables.clear()

    def _meta(self) -> dict[str, object]:
        """What a checkpoint must agree on, and the policy it returns."""
        return {
            "game": self.game,
            "n_agents": self.n_agents,
            "n_states": self.n_states,
            "n_actions": self.n_actions,
            "horizon": self.horizon,
            "agent": PRIVATE_TABLE,
            "output_policy": self.output_policy,
        }


def require_tables(name: str, shape: tuple[int, int, int, int]) -> None:
    """Refuse private tables [N, H, S, A] that no memory holds.

    Raises:
        UserError: naming the sizes.
    """
    n_agents, horizon, n_states, n_actions = shape
    entries = n_agents * horizon * n_states * n_actions
    if entries > LARGEST_TABLE:
        raise UserError(
            f"env_args.n_agents={n_agents}: {name} keeps a table of {horizon} steps, {n_states} states and "
            f"{n_actions} actions for every agent, {entries:.1e} entries (at most {LARGEST_TABLE:.1e}); "
            "lower n_agents, or take an algorithm whose agents share a policy, such as mf_pmd_tabular"
        )
