"""The mean-field controller: one policy of the local state for all agents, evaluated once a state."""

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.integers import as_integers
from ..functional.mean_field import Policy
from ..modules.agents import REGISTRY as AGENTS
from ..modules.agents import MeanFieldAgent, MeanFieldNetworkAgent
from ..modules.agents.choose import chosen_agent
from ..modules.features import feature_size
from ..modules.policy_history import OUTPUT_POLICIES, PolicyHistory
from .checks import require_playable, require_same
from .population_mac import InverseCDFSampler, PopulationMAC

POLICY_FILE = "policy.th"


class MeanFieldMAC(PopulationMAC):
    """Controller of a policy pi_h(a | s), or pi_h(a | s, nu), shared by all agents.

    It is permutation-invariant by construction (Yardim & He 2025, Sec. 5): it reads local states off
    ``observation: index`` and the population off ``state``, evaluates
    its agent once for every local state, and looks the agents up: the cost of a forward pass does
    not grow with N. In training it plays the last iterate, in test mode ``output_policy``, sampled.

    Args:
        scheme: the host's batch scheme.
        groups: the host's groups (not read).
        args: reads ``agent``, ``output_policy``, ``n_actions``, ``state_shape`` (S), ``observation``,
            ``population_info`` (set by the population runner), and what the agent reads.

    Raises:
        UserError: the environment has no discrete local states, or a setting is not one of those offered.
    """

    shares_policy = True
    reads_own_last_action = False

    def __init__(self, scheme: dict, groups: dict, args: SimpleNamespace) -> None:
        super().__init__(args)
        policies = {name: kind for name, kind in AGENTS.items() if issubclass(kind, MeanFieldAgent)}
        self.agent_name = chosen_agent(args)
        if self.agent_name not in policies:
            raise UserError(f"agent={args.agent}: a mean-field controller takes {' or '.join(policies)}")
        if args.output_policy not in OUTPUT_POLICIES:
            raise UserError(f"output_policy={args.output_policy}: choose one of {', '.join(OUTPUT_POLICIES)}")
        self.output_policy: str = args.output_policy
        kind = policies[self.agent_name]
        self.agent: MeanFieldAgent = kind(self._input_size(kind.tabular), args)
        self.population_dependent = self.agent.population_dependent
        self.action_selector = InverseCDFSampler()
        self.history = PolicyHistory(keep_all=self.population_dependent)
        self._tables: dict[str, Tensor] = {}
        self.record_iterate()

    def _input_size(self, tabular: bool) -> int:
        if tabular:
            return self.horizon * self.n_states
        if self.args.hidden_dim < 1:
            raise UserError(f"hidden_dim={self.args.hidden_dim}: must be at least 1")
        population = bool(self.args.population_dependent)
        return feature_size(self.n_states, self.horizon, population=population)

    # What a runner calls.

    def init_hidden(self, batch_size: int) -> None:
        """Start of a batch of episodes; the policy keeps no memory, only tables of its rows."""
        self._tables.clear()

    def _played(self, ep_batch: Any, t: int, bs: slice | list[int], test_mode: bool) -> tuple[Tensor, Tensor]:
        states = as_integers(ep_batch["obs"][bs, t, :, 0])
        return self._rows(t, ep_batch["state"][bs, t], test_mode), states

    def _rows(self, h: int, population: Tensor, test_mode: bool) -> Tensor:
        """The policy played at step h against nu [B, S]: [B or 1, S, A]."""
        if self.population_dependent:
            return self.policy_rows(self.output_policy if test_mode else "last", h, population)
        return self._table(test_mode)[h].unsqueeze(0)

    def _table(self, test_mode: bool) -> Tensor:
        """The policy played at all steps, of one that does not read the population: [H, S, A]."""
        name = self.output_policy if test_mode else "last"
        if name not in self._tables:
            self._tables[name] = require_playable(self.history.mean(name), name=f"the {name} policy")
        return self._tables[name]

    @torch.no_grad()
    def policy_of_counts(
        self, h: int, population: Tensor, last_actions: Tensor | None, *, test_mode: bool
    ) -> Tensor:
        """The policy that agents who are counted play at step h, [B or 1, 1, S, A].

        Args:
            h: the step.
            population: nu, [B, S] float32.
            last_actions: not read.
            test_mode: ``output_policy``, else the last iterate.
        """
        return self._rows(h, population, test_mode).unsqueeze(1)

    def table_of_counts(self, *, test_mode: bool) -> Tensor | None:
        """``policy_of_counts`` at all steps, [H, S, A]; None if it reads what is yet to come."""
        return None if self.population_dependent else self._table(test_mode)

    # What a learner calls.

    def log_policy(self, population: Tensor) -> Tensor:
        """log pi of the current parameters at every step: nu [B, T, S] -> [B or 1, T, S, A]."""
        steps = torch.arange(self.horizon, device=population.device)
        seen = population[:, : self.horizon] if self.population_dependent else None
        rows = self.agent.log_policy(seen, steps, n_states=self.n_states, horizon=self.horizon)
        return rows if self.population_dependent else rows.unsqueeze(0)

    def features(self, population: Tensor) -> Tensor:
        """What a network agent's forward pass takes for all cells: nu [B, T, S] -> [B or 1, T, S, F]."""
        assert isinstance(self.agent, MeanFieldNetworkAgent)
        steps = torch.arange(self.horizon, device=population.device)
        sizes = {"n_states": self.n_states, "horizon": self.horizon}
        rows = self.agent.features(population[:, : self.horizon], steps, **sizes)
        return rows if self.population_dependent else rows.unsqueeze(0)

    @torch.no_grad()
    def record_iterate(self) -> None:
        """Append the current policy to the history that ``average`` and ``tail`` are means of."""
        if self.population_dependent:
            self.history.append(torch.nn.utils.parameters_to_vector(self.agent.parameters()))
        else:
            device = self.agent.device
            steps = torch.arange(self.horizon, device=device)
            rows = self.agent.log_policy(None, steps, n_states=self.n_states, horizon=self.horizon)
            self.history.append(rows.exp())
        self._tables.clear()

    # What a judge calls.

    def scored_policies(self) -> dict[str, Policy]:
        """``last``, ``average`` and ``tail`` as policies of the mean-field game, (h, nu [S]) -> [S, A]."""

        def policy(name: str) -> Policy:
            if not self.population_dependent:
                table = self.history.mean(name)
                return lambda h, nu: table[h]
            return lambda h, nu: self.policy_rows(name, h, nu.float().unsqueeze(0))[0]

        return {name: policy(name) for name in OUTPUT_POLICIES}

    @torch.no_grad()
    def policy_rows(self, name: str, h: int, population: Tensor) -> Tensor:
        """An output policy that reads the population, at step h: nu [B, S] -> [B, S, A]."""
        assert isinstance(self.agent, MeanFieldNetworkAgent)
        members = self.history.members(name)
        return self.agent.mean_policy(members, population, h, n_states=self.n_states, horizon=self.horizon)

    # The host's housekeeping.

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """Of the agent; a table has none."""
        return self.agent.parameters()

    def load_state(self, other_mac: "MeanFieldMAC") -> None:
        """Copy the agent's parameters and the history from another controller."""
        self.agent.load_state_dict(other_mac.agent.state_dict())
        self.history.load_state_dict(other_mac.history.state_dict(), self.agent.device)
        self._tables.clear()

    def cuda(self) -> None:
        """Move the agent and the history to the GPU."""
        self.agent.cuda()
        self.history.load_state_dict(self.history.state_dict(), "cuda")
        self._tables.clear()

    def save_models(self, path: str) -> None:
        """Write agent.th, and policy.th: the history and what the policy is for."""
        torch.save(self.agent.state_dict(), Path(path) / "agent.th")
        saved = {"meta": self._meta(), "history": self.history.state_dict()}
        if not self.population_dependent:
            saved["tables"] = {name: self.history.mean(name).cpu().clone() for name in OUTPUT_POLICIES}
        torch.save(saved, Path(path) / POLICY_FILE)

    def load_models(self, path: str) -> None:
        """Restore what ``save_models`` wrote.

        Raises:
            UserError: the checkpoint is of another game or of other sizes S, A, H. The number of
                agents and their personal parameters may differ.
        """
        saved = torch.load(Path(path) / POLICY_FILE, map_location="cpu", weights_only=True)
        require_same({**self._meta(), "output_policy": saved["meta"]["output_policy"]}, saved["meta"], path)
        device = self.agent.device
        self.agent.load_state_dict(
            torch.load(Path(path) / "agent.th", map_location=device, weights_only=True)
        )
        self.history.load_state_dict(saved["history"], device)
        self._tables.clear()

    def _meta(self) -> dict[str, object]:
        """What a checkpoint must agree on, and the policy it returns."""
        meta = {
            "game": self.game,
            "agent": self.agent_name,
            "n_states": self.n_states,
            "n_actions": self.n_actions,
            "horizon": self.horizon,
            "output_policy": self.output_policy,
        }
        if not self.agent.tabular:
            network = {"hidden_dim": self.args.hidden_dim, "population_dependent": self.population_dependent}
            meta |= network
        return meta
