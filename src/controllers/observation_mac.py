"""The controller of a network of what agents observe, whatever the environment."""

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from ..modules.agents import DeepSetNetworkAgent
from ..modules.observation_network import IDENTITIES
from ..modules.parameter_history import ParameterHistory
from ..modules.policy_history import OUTPUT_POLICIES
from .checks import require_same
from .mean_field_controller import POLICY_FILE

UNAVAILABLE = -1e10  # a logit: finite, so that 0 log 0 and its gradient stay 0


class Observed(NamedTuple):
    """What agents see in R rows, a row being one step of one episode.

    Attributes:
        features: [R, N, F] float32.
        present: which agents are there, [R, N] bool.
        available: actions that an agent may take, [R, N, A] bool.
        agents: who they are, if it is J of the N alone, [J] int64: N is J then in the shapes above, and
            only networks that do not look at the population can tell what they make of it.
    """

    features: Tensor
    present: Tensor
    available: Tensor
    agents: Tensor | None = None


class LogitsSampler:
    """Draws one action an agent by an exponential race, from torch's global generator.

    The action of the smallest e_a / pi_a, e_a ~ Exp(1), is distributed by pi; in logits that is the
    largest logit_a - log e_a, which needs no softmax.
    """

    def select_action(self, logits: Tensor) -> Tensor:
        """Logits [..., A] -> actions [...] int64."""
        return (logits - torch.empty_like(logits).exponential_().log_()).argmax(-1)


class ObservationMAC:
    """Controller of a policy pi(a | o_i), or pi(a | o_i, m), for any environment of any host.

    Args:
        scheme: the host's batch scheme; its ``obs`` tells the size of an observation.
        groups: the host's groups (not read).
        args: reads ``output_policy``, ``identity`` (absent means none), ``embedding_dim``,
            ``population_dependent``, ``hidden_dim``, ``mask_absent``, ``n_agents``, ``n_actions``,
            ``observation``, ``population_info`` (set by the population runner). Writes
            ``args.observation_features`` (F), which critics read.

    Attributes:
        shares_policy: whether all agents act by one policy of what they observe.

    Raises:
        UserError: a setting that it cannot serve.
    """

    def __init__(self, scheme: dict, groups: dict, args: SimpleNamespace) -> None:
        self.args = args
        self.identity: str = getattr(args, "identity", "none")
        check_settings(args, self.identity)
        self.info: dict | None = getattr(args, "population_info", None)
        self.n_agents: int = args.n_agents
        self.n_actions: int = args.n_actions
        self.game: str | None = self.info["game"] if self.info else None
        self.horizon: int | None = self.info["horizon"] if self.info else getattr(args, "episode_limit", None)
        self.n_features: int = scheme["obs"]["vshape"]
        self.make_features: Callable[..., Tensor] | None = None
        if self.info is not None and args.observation == "index":
            self.n_features, self.make_features = self.info["features"]
        self.masks_absent = bool(args.mask_absent) and self.info is None
        self.shares_policy = self.identity == "none"
        self.output_policy: str = args.output_policy
        args.observation_features = self.n_features
        self.agent = DeepSetNetworkAgent(self.n_features, args)
        self.population_dependent = self.agent.population_dependent
        self.action_selector = LogitsSampler()
        self.history = ParameterHistory(self.output_policy)
        self.record_iterate()

    # What a learner calls.

    def observed(self, batch: Any, episodes: Tensor, steps: Tensor, agents: Tensor | None = None) -> Observed:
        """What all agents, or J of them [J], saw at some steps of some episodes, [R] int64 each."""
        return self._observed(batch, (episodes, steps), steps, agents)

    def log_policy(self, observed: Observed, agents: Tensor | None = None) -> Tensor:
        """log pi of J agents ([J] int64; None for all in order), with gradient: [R, J, A].

        An unavailable action has -1e10 or thereabouts: its probability is 0, and so is what it adds to
        an entropy or a divergence.
        """
        return torch.log_softmax(self._logits(observed, agents), -1)

    @torch.no_grad()
    def record_iterate(self) -> None:
        """Append the current parameters to the history that ``average`` and ``tail`` are means of."""
        if self.output_policy != "last":
            self.history.append(torch.nn.utils.parameters_to_vector(self.agent.parameters()))
            self.history.trim()

    # What a runner calls.

    def init_hidden(self, batch_size: int) -> None:
        """Start of a batch of episodes; the policy keeps no memory."""

    @torch.no_grad()
    def select_actions(
        self,
        ep_batch: Any,
        t_ep: int,
        t_env: int,
        bs: slice | list[int] = slice(None),
        test_mode: bool = False,
    ) -> Tensor:
        """Sample the actions of all agents at step ``t_ep``: int64 [len(bs), N]."""
        observed = self._at_step(ep_batch, bs, t_ep)
        if test_mode and self.output_policy != "last":
            return self.action_selector.select_action(self._mean_policy(observed).log())
        return self.action_selector.select_action(self._logits(observed))

    def forward(self, ep_batch: Any, t: int, test_mode: bool = False) -> Tensor:
        """Action probabilities of all agents at step t, [B, N, A]; of the mean policy in test mode."""
        observed = self._at_step(ep_batch, slice(None), t)
        if test_mode and self.output_policy != "last":
            return self._mean_policy(observed)
        return self.log_policy(observed).exp()

    def _at_step(self, batch: Any, bs: slice | list[int], t: int) -> Observed:
        steps = torch.full((len(range(batch.batch_size)[bs]) if isinstance(bs, slice) else len(bs),), t)
        return self._observed(batch, (bs, t), steps.to(batch.device))

    def _observed(
        self, batch: Any, rows: tuple[Any, Any], steps: Tensor, agents: Tensor | None = None
    ) -> Observed:
        where = rows if agents is None else (rows[0].unsqueeze(-1), rows[1].unsqueeze(-1), agents)
        obs = batch["obs"][where].float()  # [R, N, O]
        if self.make_features is not None:
            assert self.horizon is not None
            obs = self.make_features(obs, batch["state"][rows], steps / self.horizon)
        if obs.shape[-1] != self.n_features:
            raise UserError(
                f"an observation has {obs.shape[-1]} numbers, the network takes {self.n_features}"
            )
        everyone = torch.ones((), dtype=torch.bool, device=obs.device)
        present = (obs != 0).any(-1) if self.masks_absent else everyone.expand(obs.shape[:-1])
        column = batch["avail_actions"]
        masks = any(column.stride())
        available = column[where] > 0 if masks else everyone.expand(*obs.shape[:-1], self.n_actions)
        return Observed(obs, present, available, agents)

    def _logits(self, observed: Observed, agents: Tensor | None = None) -> Tensor:
        if observed.agents is not None:
            assert agents is None, "these are the agents already"
            return mask(self.agent(observed.features, None, observed.agents), observed.available)
        logits = self.agent(observed.features, observed.present, agents)
        return mask(logits, observed.available, agents)

    @torch.no_grad()
    def _mean_policy(self, observed: Observed) -> Tensor:
        """Mean over the iterates of the policies they stand for, [R, N, A]."""
        members = self.history.members(self.output_policy)  # [K, P]
        total = torch.zeros((), device=observed.features.device)
        for weights in members:
            logits = torch.func.functional_call(
                self.agent, as_weights(self.agent, weights), (observed.features, observed.present)
            )
            total = total + torch.softmax(mask(logits, observed.available), -1)
        return total / len(members)

    # The host's housekeeping.

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """Of the agent."""
        return self.agent.parameters()

    def load_state(self, other_mac: "ObservationMAC") -> None:
        """Copy the agent's parameters and the history from another controller."""
        self.agent.load_state_dict(other_mac.agent.state_dict())
        if self.history.count:
            self.history.load_state_dict(other_mac.history.state_dict(), self.agent.device)

    def cuda(self) -> None:
        """Move the agent and the history to the GPU."""
        self.agent.cuda()
        if self.history.count:
            self.history.load_state_dict(self.history.state_dict(), "cuda")

    def save_models(self, path: str) -> None:
        """Write agent.th, and policy.th: the history and what the policy is for."""
        torch.save(self.agent.state_dict(), Path(path) / "agent.th")
        history = self.history.state_dict() if self.history.count else None
        torch.save({"meta": self._meta(), "history": history}, Path(path) / POLICY_FILE)

    def load_models(self, path: str) -> None:
        """Restore what ``save_models`` wrote."""
        saved = torch.load(Path(path) / POLICY_FILE, map_location="cpu", weights_only=True)
        meta, free = self._meta(), {"output_policy", "n_agents"}
        require_same({key: value for key, value in meta.items() if key not in free}, saved["meta"], path)
        state = torch.load(Path(path) / "agent.th", map_location=self.agent.device, weights_only=True)
        self.agent.load_state_dict(state)
        if saved["history"] is not None and self.output_policy != "last":
            self.history.load_state_dict(saved["history"], self.agent.device)

    def _meta(self) -> dict[str, object]:
        """What a checkpoint must agree on, and the policy it returns."""
        return {
            "kind": "observation",
            "game": self.game,
            "n_features": self.n_features,
            "n_actions": self.n_actions,
            "n_agents": self.n_agents,
            "horizon": self.horizon if self.info else None,
            "hidden_dim": self.args.hidden_dim,
            "identity": self.identity,
            "embedding_dim": self.args.embedding_dim,
            "population_dependent": self.population_dependent,
            "mask_absent": bool(self.args.mask_absent),
            "output_policy": self.output_policy,
        }


def mask(logits: Tensor, available: Tensor, agents: Tensor | None = None) -> Tensor:
    """Logits [R, J, A] with those of unavailable actions [R, N, A] made hopeless; J of the N agents."""
    if not any(available.stride()):
        return logits
    available = available if agents is None else available[:, agents]
    return logits.masked_fill(~available, UNAVAILABLE)


def as_weights(module: torch.nn.Module, vector: Tensor) -> dict[str, Tensor]:
    """A vector [..., P] of all parameters as a dictionary by name, [..., *shape]."""
    shapes = {name: value.shape for name, value in module.named_parameters()}
    chunks = vector.split([shape.numel() for shape in shapes.values()], -1)
    return {
        name: c.reshape(*c.shape[:-1], *shape)
        for (name, shape), c in zip(shapes.items(), chunks, strict=True)
    }


def check_settings(args: SimpleNamespace, identity: str) -> None:
    """Refuse what the networks cannot serve.

    Raises:
        UserError: naming key, value and remedy.
    """
    if identity not in IDENTITIES:
        raise UserError(f"identity={identity}: choose one of {', '.join(IDENTITIES)}")
    if args.output_policy not in OUTPUT_POLICIES:
        raise UserError(f"output_policy={args.output_policy}: choose one of {', '.join(OUTPUT_POLICIES)}")
    if args.hidden_dim < 1:
        raise UserError(f"hidden_dim={args.hidden_dim}: must be at least 1")
    if args.embedding_dim < 0:
        raise UserError(f"embedding_dim={args.embedding_dim}: must be 0 (none) or more")
    if identity == "own_network" and args.embedding_dim:
        raise UserError(
            f"embedding_dim={args.embedding_dim}: with identity=own_network N networks would each embed N "
            "agents, set embedding_dim=0"
        )
    if args.population_dependent and not args.embedding_dim:
        raise UserError(
            "population_dependent=True, embedding_dim=0: the policy sees the population through the "
            "embedding, set embedding_dim above 0, or population_dependent=False"
        )
