"""The controller of a network of what agents observe, whatever the environment."""

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import DivergenceError, UserError
from ..functional.masks import mask_logits, masks_nothing
from ..functional.mean_field import Policy
from ..modules.agents import DeepSetNetworkAgent
from ..modules.iterates import Iterates
from ..modules.parameter_history import ParameterHistory
from .mean_field_controller import POLICY_FILE
from .observation_checkpoint import KIND, read_history, require_fitting
from .observation_settings import check_iterates_kept, check_observation_settings

__all__ = ["LogitsSampler", "ObservationMAC", "Observed"]


class Observed(NamedTuple):
    """What agents see in R rows, a row being one step of one episode.

    Attributes:
        features: [R, N, F] float32.
        present: which agents are there, [R, N] bool.
        available: actions that an agent may take, [R, N, A] bool; of strides 0 where all may be.
        agents: who they are, if it is J of the N alone, [J] int64: N is J then in the shapes above, and
            only networks that do not look at the population can tell what they make of it.
    """

    features: Tensor
    present: Tensor
    available: Tensor
    agents: Tensor | None = None


class LogitsSampler:
    """Draws one action an agent by inverting the distribution function, one uniform draw each.

    Draws come from torch's global generator, as those of the host's own action selectors do.
    """

    def select_action(self, logits: Tensor) -> Tensor:
        """Logits [..., A], unnormalised log-probabilities -> actions [...] int64."""
        sums = (logits - logits.amax(-1, keepdim=True)).exp_().cumsum(-1)  # [..., A]
        total = sums[..., -1:]
        # the largest draw, 1 - 2^-24, times the total rounds below it: no draw goes beyond the last
        # possible action, from which on the sums are the total
        draws = torch.rand(total.shape, device=logits.device) * total
        return (draws >= sums).sum(-1)


class ObservationMAC:
    """Controller of a policy pi(a | o_i), or pi(a | o_i, m), for any environment of any host.

    With ``identity="none"`` all agents share it and it is permutation-invariant by construction (Yardim &
    He 2025, Sec. 5): an agent is known by what it observes, the population by the mean m over agents of a
    learnt feature. The other identities, for comparison, tell agents who they are.

    Observations are the batch's, but for games played by the population runner with
    ``observation: index``: there the batch holds the few numbers that make a local state, and the game's
    features are made of them for the rows that are asked for. In other environments, which tell nothing
    about it, an agent whose observation is zero everywhere is absent (``mask_absent``) and left out of m.

    In training it plays the current parameters, in test mode ``output_policy``, sampled: see
    ``Iterates.drawn_logits`` for how a mean of networks is played at the cost of one.

    Args:
        scheme: the host's batch scheme; its ``obs`` tells the size of an observation.
        groups: the host's groups (not read).
        args: reads ``output_policy``, ``identity`` (absent means none), ``embedding_dim``,
            ``population_dependent``, ``hidden_dim``, ``mask_absent``, ``n_agents``, ``n_actions``,
            ``observation``, ``t_max``, ``batch_size_run``, ``population_info`` (set by the population
            runner). Writes ``args.observation_features`` (F), which critics read.

    Attributes:
        shares_policy: whether all agents act by one policy of what they observe.
        horizon: environment steps of an episode; None where neither runner nor host tells.

    Raises:
        UserError: a setting that it cannot serve.
    """

    def __init__(self, scheme: dict, groups: dict, args: SimpleNamespace) -> None:
        check_observation_settings(args)
        self.args = args
        self.identity: str = getattr(args, "identity", "none")
        self.shares_policy = self.identity == "none"
        self.output_policy: str = args.output_policy
        self.n_agents: int = args.n_agents
        self.n_actions: int = args.n_actions
        self.info: dict | None = getattr(args, "population_info", None)
        self.game: str | None = self.info["game"] if self.info else None
        self.horizon: int | None = self.info["horizon"] if self.info else getattr(args, "episode_limit", None)
        self.masks_absent = bool(args.mask_absent) and self.info is None
        self.n_features: int = scheme["obs"]["vshape"]
        self.make_features: Callable[..., Tensor] | None = None
        if self.info and args.observation == "index":
            self.n_features, self.make_features = self.info["features"]
        args.observation_features = self.n_features
        self.agent = DeepSetNetworkAgent(self.n_features, args)
        n_parameters = sum(parameter.numel() for parameter in self.agent.parameters())
        check_iterates_kept(args, n_parameters=n_parameters, horizon=self.horizon)
        self.population_dependent = self.agent.population_dependent
        self.action_selector = LogitsSampler()
        self.history = ParameterHistory(self.output_policy)
        self._iterates: Iterates | None = None
        self._finite: Tensor | None = None
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
        if observed.agents is not None:
            assert agents is None, "these are the agents already"
            logits = self.agent(observed.features, None, observed.agents)
        else:
            logits = self.agent(observed.features, observed.present, agents)
        return torch.log_softmax(masked(logits, observed, agents), -1)

    def record_iterate(self) -> None:
        """Append the current parameters to the history that ``average`` and ``tail`` are means of."""
        self.history.record(self.agent)
        self._iterates = None

    # What a runner calls.

    def init_hidden(self, batch_size: int) -> None:
        """Start of a batch of episodes; the policy keeps no memory.

        Raises:
            DivergenceError: a logit of the batch before was NaN or infinite, on a device that is not
                waited for at every step.
        """
        self._require_finite()
        self._finite = None

    @torch.no_grad()
    def select_actions(
        self,
        ep_batch: Any,
        t_ep: int,
        t_env: int,
        bs: slice | list[int] = slice(None),
        test_mode: bool = False,
    ) -> Tensor:
        """Sample the actions of all agents at step ``t_ep``: int64 [len(bs), N].

        Raises:
            DivergenceError: a logit is NaN or infinite; on a GPU at the end of the batch.
        """
        observed = self._observed(ep_batch, (bs, t_ep), t_ep)
        if test_mode and self.output_policy != "last":
            logits = self._members().drawn_logits(observed.features, observed.present)
        else:
            logits = self.agent(observed.features, observed.present)
        self._watch(logits)
        return self.action_selector.select_action(masked(logits, observed))

    def forward(self, ep_batch: Any, t: int, test_mode: bool = False) -> Tensor:
        """Action probabilities of all agents at step t, [B, N, A]: in test mode those of the mean policy."""
        observed = self._observed(ep_batch, (slice(None), t), t)
        if test_mode and self.output_policy != "last":
            return self._members().mean_policy(*observed[:3])
        return self.log_policy(observed).exp()

    def _observed(
        self, batch: Any, rows: tuple[Any, Any], steps: Tensor | int, agents: Tensor | None = None
    ) -> Observed:
        where = rows if agents is None else (rows[0].unsqueeze(-1), rows[1].unsqueeze(-1), agents)
        obs = batch["obs"][where].float()  # [R, N, O]
        if self.make_features is not None:
            assert self.horizon is not None
            population = batch["state"][rows]  # [R, K]
            clock = steps if isinstance(steps, Tensor) else torch.full((), steps, device=obs.device)
            progress = clock / self.horizon
            obs = self.make_features(obs, population, progress.expand(len(obs)))
        knows_itself = agents is None and not self.shares_policy
        require_size(obs, n_features=self.n_features, n_agents=self.n_agents if knows_itself else None)
        everyone = torch.ones((), dtype=torch.bool, device=obs.device)
        present = (obs != 0).any(-1) if self.masks_absent else everyone.expand(obs.shape[:-1])
        available = batch["avail_actions"]
        if masks_nothing(available):
            available = everyone.expand(*obs.shape[:-1], self.n_actions)
        else:
            available = available[where] > 0
        return Observed(obs, present, available, agents)

    def _members(self) -> Iterates:
        if self._iterates is None:
            self._iterates = Iterates(self.agent, self.history.members(self.output_policy))
        return self._iterates

    def _watch(self, logits: Tensor) -> None:
        finite = logits.sum().isfinite()
        self._finite = finite if self._finite is None else self._finite & finite
        if logits.device.type == "cpu":
            self._require_finite()

    def _require_finite(self) -> None:
        if self._finite is not None and not bool(self._finite):
            raise DivergenceError(
                "the policy's logits hold NaN or infinity: training diverged, lower lr, or an environment "
                "showed such an observation"
            )

    # What a judge calls.

    def scored_policies(self) -> dict[str, Policy]:
        """The policies kept, as policies of the mean-field game, (h, nu [S]) -> [S, A].

        Only where local states are numbered and all agents share a policy, which is then evaluated in
        every local state. The population embeds as the mean over nu of the learnt feature.
        """
        if self.info is None or self.info["n_states"] is None or not self.shares_policy:
            return {}
        kept = self.history.kept() or ("last",)
        return {name: self._scored(name) for name in kept}

    def _scored(self, name: str) -> Policy:
        vector = torch.nn.utils.parameters_to_vector(self.agent.parameters()).detach()
        members = vector.unsqueeze(0) if name == "last" else self.history.members(name)
        iterates = Iterates(self.agent, members)
        assert self.info is not None
        n_states, horizon = self.info["n_states"], self.info["horizon"]
        make_features = self.info["features"][1]

        def policy(h: int, nu: Tensor) -> Tensor:
            shares = nu.float().unsqueeze(0)  # [1, S]
            parts = torch.arange(n_states, device=nu.device, dtype=torch.float32).reshape(1, -1, 1)
            features = make_features(parts, shares, torch.full_like(shares[:, 0], h / horizon))
            return iterates.mean_policy(features, shares)[0]

        return policy

    # The host's housekeeping.

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """Of the agent."""
        return self.agent.parameters()

    def load_state(self, other_mac: "ObservationMAC") -> None:
        """Copy the agent's parameters and the history from another controller."""
        self.agent.load_state_dict(other_mac.agent.state_dict())
        self._take(other_mac.history)

    def cuda(self) -> None:
        """Move the agent and the history to the GPU."""
        self.agent.cuda()
        self._take(self.history)

    def save_models(self, path: str) -> None:
        """Write agent.th, and policy.th: the history and what the policy is for."""
        torch.save(self.agent.state_dict(), Path(path) / "agent.th")
        history = self.history.state_dict() if self.history.count else None
        torch.save({"meta": self._meta(), "history": history}, Path(path) / POLICY_FILE)

    def load_models(self, path: str) -> None:
        """Restore what ``save_models`` wrote.

        Raises:
            UserError: a policy that cannot play here (``require_fitting``), or iterates too few for the
                output policy of this run.
        """
        saved = torch.load(Path(path) / POLICY_FILE, map_location="cpu", weights_only=True)
        require_fitting(self._meta(), saved, path)
        history = read_history(self.output_policy, saved, path)
        state = torch.load(Path(path) / "agent.th", map_location=self.agent.device, weights_only=True)
        self.agent.load_state_dict(state)
        self._take(history)

    def _take(self, history: ParameterHistory) -> None:
        """Have the iterates of a history, on the agent's device."""
        if history.count:
            self.history.load_state_dict(history.state_dict(), self.agent.device)
        self._iterates = None

    def _meta(self) -> dict[str, object]:
        """What a checkpoint must agree on, and the policy it returns."""
        return {
            "kind": KIND,
            "agent": "deep_set_network",
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


def masked(logits: Tensor, observed: Observed, agents: Tensor | None = None) -> Tensor:
    """Logits of J agents [R, J, A] without the actions that they may not take."""
    if masks_nothing(observed.available):
        return logits
    return mask_logits(logits, observed.available if agents is None else observed.available[:, agents])


def require_size(features: Tensor, *, n_features: int, n_agents: int | None) -> None:
    """Refuse observations [R, N, F] that the network was not made for; N is free where it is None.

    Raises:
        UserError: an environment whose observations changed size, or more or fewer agents than know who
            they are.
    """
    if features.shape[-1] != n_features:
        raise UserError(
            f"an observation holds {features.shape[-1]} numbers, the network takes {n_features}: the "
            "observations of an environment must not change size while it is played"
        )
    if n_agents is not None and features.shape[-2] != n_agents:
        raise UserError(
            f"{features.shape[-2]} agents act, and the network knows {n_agents} by their index: only "
            "identity=none plays among any number of agents"
        )
