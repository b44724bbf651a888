"""The controller of agents that share one network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from ..components.action_selectors import REGISTRY as SELECTORS
from ..components.distinct_rows import distinct_rows, distinct_rows_of, evaluate
from ..components.episode_batch import EpisodeBatch, Scheme
from ..modules.agents import REGISTRY as AGENTS
from ..utils.registries import look_up


class BasicMAC:
    """One network for all agents, on their observations and, if asked, their last action and index.

    A network that declares ``recurrent = False`` is evaluated once for every distinct input row (see
    ``components/distinct_rows.py``); with hidden states or the agent's index, rows are all different.

    Args:
        scheme: the completed scheme of the batches.
        groups: ``{"agents": N}``.
        args: ``agent``, ``action_selector``, ``agent_output_type``, ``obs_agent_id``, ``obs_last_action``,
            ``mask_before_softmax``, ``n_agents``, ``n_actions``.

    Attributes:
        shares_policy: whether all agents act by one policy of what they observe.
    """

    def __init__(self, scheme: Scheme, groups: dict[str, int], args: SimpleNamespace):
        self.args = args
        self.n_agents = args.n_agents
        self.agent_output_type = args.agent_output_type
        self.shares_policy = not args.obs_agent_id
        agent = look_up(AGENTS, "agent", args.agent, given="observations", by="basic_mac")
        self.agent: Any = agent(self._input_size(scheme), args)
        self.by_rows = not (getattr(self.agent, "recurrent", True) or args.obs_agent_id)
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
        parts = self._parts(batch, t, t + 1)
        rows = distinct_rows(parts) if self.by_rows else None
        return evaluate(self._outputs, parts, rows)[:, 0]

    def forward_all(self, batch: EpisodeBatch) -> Tensor:
        """Policies, or action values, ``[B, T+1, N, A]`` along whole episodes, from fresh hidden states."""
        self.init_hidden(batch.batch_size)
        length = batch.max_seq_length
        if not self.by_rows:
            return torch.stack([self.forward(batch, t) for t in range(length)], dim=1)
        parts = self._parts(batch, 0, length)
        return evaluate(self._outputs, parts, distinct_rows_of(batch, self._columns(batch), parts))

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

    def _outputs(self, parts: Sequence[Tensor]) -> Tensor:
        """``[..., A]`` from the parts of an input and the mask ``[..., A]``, one step's rows or any rows."""
        *inputs, mask = parts
        rows = torch.cat(inputs, dim=-1)
        outputs, hidden_states = self.agent(rows.flatten(0, -2), self.hidden_states)
        if not self.by_rows:
            self.hidden_states = hidden_states
        outputs = outputs.view(*rows.shape[:-1], -1)  # [..., A]
        if self.agent_output_type != "pi_logits":
            return outputs
        if self.args.mask_before_softmax:
            outputs = outputs.masked_fill(mask == 0, -1e10)
        return outputs.softmax(dim=-1)

    def _parts(self, batch: EpisodeBatch, start: int, stop: int) -> list[Tensor]:
        """What the network sees at some steps, ``[B, T', N, x]`` each, and at the end the mask."""
        parts = [batch["obs"][:, start:stop].float()]
        if self.args.obs_last_action:
            parts.append(self._last_actions(batch, start, stop))
        if self.args.obs_agent_id:
            index = torch.eye(self.n_agents, device=batch.device)
            parts.append(index.expand(batch.batch_size, stop - start, -1, -1))
        mask = batch["avail_actions"][:, start:stop]
        return [*parts, mask if self._masks(batch) else mask[:1, :1, :1]]

    def _last_actions(self, batch: EpisodeBatch, start: int, stop: int) -> Tensor:
        """The actions of the steps before, one-hot; zeros before the first."""
        onehot = batch[:, max(start - 1, 0) : stop - 1]["actions_onehot"]
        if start > 0:
            return onehot
        first = torch.zeros(batch.batch_size, 1, *onehot.shape[2:], device=onehot.device)
        return torch.cat([first, onehot], dim=1)

    def _masks(self, batch: EpisodeBatch) -> bool:
        """Whether some action may be unavailable to some agent; a batch shows a mask of ones by stride 0."""
        applied = self.agent_output_type == "pi_logits" and self.args.mask_before_softmax
        return applied and any(batch["avail_actions"].stride())

    def _columns(self, batch: EpisodeBatch) -> tuple[str, ...]:
        """The stored columns that the parts are functions of."""
        last = ("actions",) if self.args.obs_last_action else ()
        return ("obs", *last, *(("avail_actions",) if self._masks(batch) else ()))

    def _input_size(self, scheme: Scheme) -> int:
        size = scheme["obs"]["vshape"]
        if self.args.obs_last_action:
            size += scheme["actions_onehot"]["vshape"][0]
        if self.args.obs_agent_id:
            size += self.n_agents
        return size
