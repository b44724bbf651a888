"""The mixer of QMIX: monotone in every agent's value, its weights made from the state."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .vdn import share


class QMixer(nn.Module):
    """A layer of ELUs and a linear one on the agents' values, with non-negative weights.

    Equation: ``Q_tot = |w_2(s)| . elu(c sum_i |w_1(s)_i| Q_i + b_1(s)) + v(s)``, hence ``dQ_tot/dQ_i >= 0``
    (Rashid et al., "QMIX", ICML 2018, equation 5 and figure 2). The hypernetworks ``w_1, w_2, b_1, v`` read
    the state alone. The weight c of an agent is 1 with ``reward_scalarisation: sum`` and 1/N with ``mean``:
    the same functions, for 1/N can be taken into w_1; but a sum over a thousand agents saturates the ELUs of
    a network that has just been drawn.

    Args:
        args: ``mixing_embed_dim``, ``hypernet_layers``, ``hypernet_embed``, ``reward_scalarisation``,
            ``n_agents``, ``state_shape``.
    """

    form = (
        "reward_scalarisation",
        "n_agents",
        "state_shape",
        "mixing_embed_dim",
        "hypernet_layers",
        "hypernet_embed",
    )
    """Settings that two runs must share to share a mixer."""

    def __init__(self, args: SimpleNamespace):
        super().__init__()
        self.n_agents = args.n_agents
        self.embed_dim = args.mixing_embed_dim
        self.share = share(args)
        self.hyper_w_1 = self._hypernetwork(args, self.n_agents * self.embed_dim)
        self.hyper_w_2 = self._hypernetwork(args, self.embed_dim)
        self.hyper_b_1 = nn.Linear(args.state_shape, self.embed_dim)
        self.state_value = nn.Sequential(
            nn.Linear(args.state_shape, self.embed_dim), nn.ReLU(), nn.Linear(self.embed_dim, 1)
        )

    def forward(self, agent_values: Tensor, states: Tensor) -> Tensor:
        """Values of the team ``[B, T, 1]`` from the agents' ``[B, T, N]`` and the states ``[B, T, S]``."""
        w_1 = self.hyper_w_1(states).abs().unflatten(-1, (self.n_agents, self.embed_dim))  # [B, T, N, E]
        mixed = self.share * torch.einsum("btn,btne->bte", agent_values, w_1)
        hidden = F.elu(mixed + self.hyper_b_1(states))  # [B, T, E]
        w_2 = self.hyper_w_2(states).abs()
        return torch.einsum("bte,bte->bt", w_2, hidden).unsqueeze(-1) + self.state_value(states)

    def _hypernetwork(self, args: SimpleNamespace, size: int) -> nn.Module:
        """A linear map of the state, or one hidden layer of rectifiers before it."""
        if args.hypernet_layers == 1:
            return nn.Linear(args.state_shape, size)
        return nn.Sequential(
            nn.Linear(args.state_shape, args.hypernet_embed), nn.ReLU(), nn.Linear(args.hypernet_embed, size)
        )
