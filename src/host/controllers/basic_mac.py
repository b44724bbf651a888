"""The controller of agents that share one network."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from ..components.action_selectors import REGISTRY as SELECTORS
from ..components.episode_batch import EpisodeBatch, Scheme
from ..modules.agents import REGISTRY as AGENTS
from ..utils.registries import look_up


class BasicMAC:
    """One network for all agents, on their observations and, if asked, their last action and index.

    Args:
        scheme: the completed scheme of the batches.
        groups: ``{"agents": N}``.
        args: ``agent``, ``action_selector``, ``agent_output_type``, ``obs_agent_id``, ``obs_last_action``,
            ``mask_before_softmax``, ``n_agents``, ``n_actions``.
    """

    def __init__(self, scheme: Scheme, groups: dict[str, int], args: SimpleNamespace):
        self.args = args
        self.n_agents = args.n_agents
        self.agent_output_type = args.agent_output_type
        self.agent: Any = look_up(AGENTS, "agent", args.agent)(self._input_size(scheme), args)
        self.action_selector: Any = look_up(SELECTORS, "action_selector", args.action_selector)(args)
        self.hidden_states: Tensor | None = None

    def select_actions(
        self, batch: EpisodeBatch, t_ep: int, t_env: int, bs: Any = slice(None), test_mode: bool = False
    ) -> Tensor:
        """Actions ``[len(bs), N]`` long of the episodes `bs` at step `t_ep`."""
        outputs = self.forward(batch, t_ep, test_mode=test_mode)
        avail_actions = batch["avail_actions"][:, t_ep]
        return self.action_selector.select_action(outputs[bs], avail_actions[bs], t_env, test_mode=test_mode)

    def forward(self, batch: EpisodeBatch, t: int, test_mode: bool = False) -> Tensor:
        """Policies, or action values, ``[B, N, A]`` at step `t`; moves the hidden states on."""
        outputs, self.hidden_states = self.agent(self._inputs(batch, t), self.hidden_states)
        outputs = outputs.view(batch.batch_size, self.n_agents, -1)  # [B, N, A]
        if self.agent_output_type != "pi_logits":
            return outputs
        if self.args.mask_before_softmax:
            outputs = outputs.masked_fill(batch["avail_actions"][:, t] == 0, -1e10)
        return outputs.softmax(dim=-1)

    def init_hidden(self, batch_size: int) -> None:
        """Hidden states ``[B, N, H]`` for a new batch of episodes."""
        self.hidden_states = self.agent.init_hidden().expand(batch_size, self.n_agents, -1)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of the agents' network."""
        return self.agent.parameters()

    def load_state(self, other: BasicMAC) -> None:
        """Copy the parameters of another controller."""
        self.agent.load_state_dict(other.agent.state_dict())

    def cuda(self) -> None:
        """Move the network to the GPU."""
        self.agent.cuda()

    def save_models(self, path: str) -> None:
        """Write ``agent.th``."""
        torch.save(self.agent.state_dict(), f"{path}/agent.th")

    def load_models(self, path: str) -> None:
        """Read ``agent.th``."""
        self.agent.load_state_dict(torch.load(f"{path}/agent.th", map_location="cpu", weights_only=True))

    def _inputs(self, batch: EpisodeBatch, t: int) -> Tensor:
        """``[B * N, in]``."""
        inputs = [batch["obs"][:, t]]
        if self.args.obs_last_action:
            onehot = batch[:, max(t - 1, 0)]["actions_onehot"][:, 0]
            inputs.append(onehot if t > 0 else torch.zeros_like(onehot))
        if self.args.obs_agent_id:
            inputs.append(torch.eye(self.n_agents, device=batch.device).expand(batch.batch_size, -1, -1))
        return torch.cat(inputs, dim=-1).flatten(0, 1)  # [B * N, in]

    def _input_size(self, scheme: Scheme) -> int:
        size = scheme["obs"]["vshape"]
        if self.args.obs_last_action:
            size += scheme["actions_onehot"]["vshape"][0]
        if self.args.obs_agent_id:
            size += self.n_agents
        return size
