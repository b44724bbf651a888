"""The individual critic: a value for each agent from what it observes."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from ...components.episode_batch import EpisodeBatch, Scheme


class ACCritic(nn.Module):
    """A multilayer perceptron on the agent's observation and, if asked, its index.

    Args:
        scheme: the completed scheme of the batches.
        args: ``hidden_dim``, ``obs_agent_id``, ``n_agents``.
    """

    def __init__(self, scheme: Scheme, args: SimpleNamespace):
        super().__init__()
        self.n_agents = args.n_agents
        self.obs_agent_id = args.obs_agent_id
        input_shape = scheme["obs"]["vshape"] + (args.n_agents if args.obs_agent_id else 0)
        self.layers = nn.Sequential(
            nn.Linear(input_shape, args.hidden_dim),
            nn.ReLU(),
            nn.Linear(args.hidden_dim, args.hidden_dim),
            nn.ReLU(),
            nn.Linear(args.hidden_dim, 1),
        )

    def forward(self, batch: EpisodeBatch, t: int | slice | None = None) -> Tensor:
        """Values ``[B, T', N, 1]`` of the steps `t`: one step, a slice, or all."""
        steps = slice(t, t + 1) if isinstance(t, int) else t or slice(None)
        inputs = batch["obs"][:, steps]  # [B, T', N, in]
        if self.obs_agent_id:
            index = torch.eye(self.n_agents, device=inputs.device).expand(*inputs.shape[:2], -1, -1)
            inputs = torch.cat([inputs, index], dim=-1)
        return self.layers(inputs)
