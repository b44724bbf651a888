"""A learnt policy, read from a checkpoint without a host."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..controllers.mean_field_controller import POLICY_FILE
from ..controllers.observation_checkpoint import KIND
from ..controllers.private_table_mac import PRIVATE_TABLE
from ..errors import UserError
from ..modules.agents import MeanFieldNetworkAgent
from ..modules.features import feature_size
from ..modules.policy_history import OUTPUT_POLICIES, PolicyHistory
from ..modules.running_history import RunningHistory
from .observation_policy import ObservationPolicy, read_observation_policies

LOADABLE = (
    "mf_pmd",
    "mf_pmd_tabular",
    "mf_ppo",
    "mf_ppo_oh",
    "mf_ppo_id",
    "mf_ppo_ind",
    "ipmd",
    "mf_ac",
    "omd",
    "fictitious_play",
    "munchausen_omd",
)
NETWORK_FILE = "agent.th"  # what a checkpoint of any other algorithm holds


@dataclass(frozen=True)
class LearntPolicy:
    """A policy of the mean-field game: call it with (h, nu [S]) for the rows pi_h(. | s), [S, A].

    Attributes:
        name: ``last``, ``average`` or ``tail``.
        table: pi [H, S, A] float32, None for a policy that reads the population; of agents with tables
            of their own, their plain mean.
        horizon, n_states, n_actions: H, S, A.
        private_tables: pi^i of every agent, [N, H, S, A] float32, None where agents share a policy.
    """

    name: str
    table: Tensor | None
    horizon: int
    n_states: int
    n_actions: int
    ensemble: "Ensemble | None" = None
    private_tables: Tensor | None = None

    @property
    def shares_policy(self) -> bool:
        """Whether all agents act by one policy."""
        return self.private_tables is None

    def __call__(self, h: int, nu: Tensor) -> Tensor:
        return self.rows(h, nu.unsqueeze(0))[0]

    def rows(self, h: int, populations: Tensor) -> Tensor:
        """The rows against some populations: nu [B, S] -> [B, S, A]; [1, S, A] where they do not matter."""
        if self.table is not None:
            return self.table[h].unsqueeze(0)
        assert self.ensemble is not None
        return self.ensemble(h, populations)


@dataclass(frozen=True)
class Ensemble:
    """The mean of the iterates of a policy that reads the population.

    Attributes:
        agent: the network.
        parameters: of the iterates, [K, P].
        horizon, n_states: H, S.
    """

    agent: MeanFieldNetworkAgent
    parameters: Tensor
    horizon: int
    n_states: int

    @torch.no_grad()
    def __call__(self, h: int, populations: Tensor) -> Tensor:
        """nu [B, S] -> pi_h(. | s, nu) [B, S, A]."""
        sizes = {"n_states": self.n_states, "horizon": self.horizon}
        return self.agent.mean_policy(self.parameters, populations.float(), h, **sizes)


AnyPolicy = LearntPolicy | ObservationPolicy


@dataclass(frozen=True)
class Checkpoint:
    """What ``load`` returns.

    Attributes:
        path: the folder that was read.
        game: name of the game it was trained on; None where a host's own runner told none.
        policy: the policy that the run returns, its ``output_policy``.
        policies: ``last``, ``average`` and ``tail``; of observations, those that were kept.
    """

    path: Path
    game: str | None
    policy: AnyPolicy
    policies: Mapping[str, AnyPolicy]


def load(path: str | Path) -> Checkpoint:
    """Load the policies of a mean-field run.

    Args:
        path: a checkpoint ``models/TOKEN/T_ENV``; or a run's ``models/TOKEN`` or results folder
            ``sacred/NAME/GAME/ID``, whose newest checkpoint is taken.

    Returns:
        The checkpoint, on the CPU.

    Raises:
        UserError: no checkpoint is there, or one of an algorithm whose policy is no function of (h, nu).
    """
    folder = newest(Path(path))
    file = folder / POLICY_FILE
    if not file.is_file() and (folder / NETWORK_FILE).is_file():
        raise UserError(
            f"path={path}: the policy of this algorithm is no function of the local state, the step and the "
            f"population, and cannot be loaded; name a run of {', '.join(LOADABLE[:-1])} or {LOADABLE[-1]}"
        )
    if not file.is_file():
        raise UserError(
            f"path={path}: holds no {POLICY_FILE}; name a mean-field run or its checkpoint models/TOKEN/T_ENV"
        )
    try:
        saved = torch.load(file, map_location="cpu", weights_only=True)
        policies = read_policies(folder, saved)
        return Checkpoint(folder, saved["meta"]["game"], policies[saved["meta"]["output_policy"]], policies)
    except (OSError, EOFError, RuntimeError, UnpicklingError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"path={path}: {file} is damaged; take another checkpoint") from error


def newest(path: Path) -> Path:
    """The checkpoint itself, or the one of a run with the most environment steps."""
    info = path / "info.json"
    if info.is_file():
        path = Path(json.loads(info.read_text(encoding="utf-8")).get("models_dir", path))
    numbered = [child for child in path.iterdir() if child.name.isdigit()] if path.is_dir() else []
    return max(numbered, key=lambda child: int(child.name)) if numbered else path


def read_policies(folder: Path, saved: dict[str, Any]) -> Mapping[str, AnyPolicy]:
    """The policies of a checkpoint, out of the contents of its policy.th."""
    if saved["meta"].get("kind") == KIND:
        return read_observation_policies(folder, saved)
    return {name: read_policy(name, saved) for name in OUTPUT_POLICIES}


def read_policy(name: str, saved: dict[str, Any]) -> LearntPolicy:
    """One policy out of the contents of policy.th."""
    meta = saved["meta"]
    sizes = {"n_states": meta["n_states"], "horizon": meta["horizon"]}
    if "tables" in saved:
        own = private_tables(name, saved) if meta["agent"] == PRIVATE_TABLE else None
        table = saved["tables"][name]
        return LearntPolicy(name, table, n_actions=meta["n_actions"], private_tables=own, **sizes)
    args = SimpleNamespace(
        hidden_dim=meta["hidden_dim"], n_actions=meta["n_actions"], population_dependent=True
    )
    agent = MeanFieldNetworkAgent(feature_size(**sizes, population=True), args)
    history = PolicyHistory(keep_all=True)
    history.load_state_dict(saved["history"])
    ensemble = Ensemble(agent, history.members(name), **sizes)
    return LearntPolicy(name, None, n_actions=meta["n_actions"], ensemble=ensemble, **sizes)


def private_tables(name: str, saved: dict[str, Any]) -> Tensor:
    """The policy of every agent, [N, H, S, A], out of the contents of a private-table policy.th."""
    history = RunningHistory()
    history.load_state_dict(saved["history"])
    return history.mean(name)
