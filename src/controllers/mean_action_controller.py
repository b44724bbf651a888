"""The mean-action controller: a Boltzmann policy of Q(s, ., a-bar) for all agents."""

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..functional.distributions import count_values, others_distribution
from ..functional.mean_action import boltzmann_policy, uniform_mean_action
from ..modules.agents import REGISTRY as AGENTS
from ..modules.agents import MeanActionQAgent
from .checks import require_playable, require_same
from .population_mac import InverseCDFSampler, PopulationMAC

CONTROLLER_FILE = "controller.th"
POLICY = "the Boltzmann policy"


class MeanActionMAC(PopulationMAC):
    """Controller of one policy for all agents, proportional to exp(beta Q_h(s, a, nu, a-bar)) in a.

    a-bar is the mean action of the other agents at the step before (Yang et al. 2018), uniform
    at the first step; it is counted from the actions that the batch holds, the agent itself
    left out exactly. Agents in the same local state who played the same action see the same, so Q is
    evaluated on S A rows a step, whatever N is. Test mode plays the same policy as training, sampled.

    It does not tell its policies to a judge: they are no functions of (h, nu).

    Args:
        scheme: the host's batch scheme.
        groups: the host's groups (not read).
        args: reads ``agent``, ``beta``, ``n_actions``, ``state_shape`` (S), ``observation``,
            ``population_info`` (set by the population runner), and what the agent reads.

    Raises:
        UserError: the environment has no discrete local states, or a setting is not one of those offered.
    """

    shares_policy = True
    reads_own_last_action = True

    def __init__(self, scheme: dict, groups: dict, args: SimpleNamespace) -> None:
        super().__init__(args)
        agents = {name: kind for name, kind in AGENTS.items() if issubclass(kind, MeanActionQAgent)}
        if args.agent not in agents:
            raise UserError(f"agent={args.agent}: a mean-action controller takes {' or '.join(agents)}")
        for key in ("beta", "hidden_dim"):
            if not getattr(args, key) > 0:
                raise UserError(f"{key}={getattr(args, key)}: must be positive")
        self.beta: float = args.beta
        self.agent: MeanActionQAgent = agents[args.agent](0, args)
        self.action_selector = InverseCDFSampler()
        self._doubtful: list[Tensor] = []  # policies of this batch that nobody has looked at

    # What a runner calls.

    def init_hidden(self, batch_size: int) -> None:
        """Start of a batch of episodes; a-bar is read off the batch, nothing is remembered.

        Raises:
            DivergenceError: the policy of the batch before was none, on a GPU, where steps wait for nothing.
        """
        doubtful, self._doubtful = self._doubtful, []
        if doubtful:
            require_playable(torch.cat(doubtful), name=POLICY)

    def _played(self, ep_batch: Any, t: int, bs: slice | list[int], test_mode: bool) -> tuple[Tensor, Tensor]:
        """The policy by (state, own last action), [B, S * A, A], and the row of every agent, [B, N] int64."""
        states = ep_batch["obs"][bs, t, :, 0].long()
        population = ep_batch["state"][bs, t]  # [B, S]
        if t == 0:
            last, counts = torch.zeros_like(states), None  # all rows of the first step are alike
        else:
            last = ep_batch["actions"][bs, t - 1, :, 0].long()
            counts = count_values(last, self.n_actions).to(population.dtype)
        policy = self._rows(t, population, counts).flatten(1, 2)  # [B, S * A, A]
        return policy, states * self.n_actions + last

    def _rows(self, h: int, population: Tensor, last_actions: Tensor | None) -> Tensor:
        """The policy by (state, own last action), [B, S, A, A]: nu [B, S], counts of last actions [B, A]."""
        if last_actions is None:
            uniform = population.new_empty(len(population), self.n_actions, self.n_actions)
            mean_action = uniform_mean_action(uniform)
        else:
            mean_action = others_distribution(last_actions).to(population.dtype)  # [B, A, A]
        q_values = self.q_values(population, mean_action, h)
        return self._watched(boltzmann_policy(q_values, self.beta))

    def _watched(self, policy: Tensor) -> Tensor:
        """Pass a policy on, unless it is none; on a GPU that is found out before the next batch."""
        if policy.device.type == "cpu":
            return require_playable(policy, name=POLICY)
        self._doubtful.append(policy)
        return policy

    @torch.no_grad()
    def policy_of_counts(
        self, h: int, population: Tensor, last_actions: Tensor | None, *, test_mode: bool
    ) -> Tensor:
        """The policy that agents who are counted play at step h, by their own last action, [B, A, S, A].

        Args:
            h: the step.
            population: nu, [B, S] float32.
            last_actions: how many agents took each action at the step before, [B, A] float64; None at the
                first.
            test_mode: not read.
        """
        return self._rows(h, population, last_actions).transpose(1, 2)

    def q_values(self, population: Tensor, mean_action: Tensor, h: int) -> Tensor:
        """Q at step h against nu [B, S] and R mean actions [B, R, A]: [B, S, R, A], reward units."""
        steps = torch.full((1,), h, device=population.device)
        features = self.agent.critic.features(population.unsqueeze(1), mean_action.unsqueeze(1), steps)
        return self.agent.critic(features).squeeze(1)

    # What a learner calls.

    def record_iterate(self) -> None:
        """The policy that is played is the last one: no iterate is kept."""

    # The host's housekeeping.

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """Of the agent."""
        return self.agent.parameters()

    def load_state(self, other_mac: "MeanActionMAC") -> None:
        """Copy the agent's parameters from another controller."""
        self.agent.load_state_dict(other_mac.agent.state_dict())

    def cuda(self) -> None:
        """Move the agent to the GPU."""
        self.agent.cuda()

    def save_models(self, path: str) -> None:
        """Write agent.th, and controller.th: what the policy is for."""
        torch.save(self.agent.state_dict(), Path(path) / "agent.th")
        torch.save(self._meta(), Path(path) / CONTROLLER_FILE)

    def load_models(self, path: str) -> None:
        """Restore what ``save_models`` wrote.

        Raises:
            UserError: the checkpoint is of another game or of other sizes S, A, H. The number of
                agents and their personal parameters may differ.
        """
        saved = torch.load(Path(path) / CONTROLLER_FILE, map_location="cpu", weights_only=True)
        require_same(self._meta(), saved, path)
        device = next(self.agent.parameters()).device
        self.agent.load_state_dict(
            torch.load(Path(path) / "agent.th", map_location=device, weights_only=True)
        )

    def _meta(self) -> dict[str, object]:
        """What a checkpoint must agree on."""
        return {
            "game": self.game,
            "n_states": self.n_states,
            "n_actions": self.n_actions,
            "horizon": self.horizon,
            "agent": self.args.agent,
            "hidden_dim": self.args.hidden_dim,
        }
