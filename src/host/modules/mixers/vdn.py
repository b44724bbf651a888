"""The mixer of value decomposition networks."""

from types import SimpleNamespace

from torch import Tensor, nn


class VDNMixer(nn.Module):
    """The agents' values, scalarised as the reward of the team is: their sum, or their mean.

    Equation: ``Q_tot = sum_i Q_i`` (Sunehag et al., "Value-Decomposition Networks For Cooperative Multi-Agent
    Learning", AAMAS 2018, equation 1). With ``reward_scalarisation: mean`` reward and sum are both divided by
    N: the same greedy actions, in units of one agent's reward however many agents there are.

    Args:
        args: ``reward_scalarisation``, ``n_agents``.
    """

    form = ("reward_scalarisation",)
    """Settings that two runs must share to share a mixer."""

    def __init__(self, args: SimpleNamespace):
        super().__init__()
        self.share = share(args)

    def forward(self, agent_values: Tensor, states: Tensor) -> Tensor:
        """Values of the team ``[B, T, 1]`` from the agents' ``[B, T, N]``; the states are not read."""
        return self.share * agent_values.sum(dim=-1, keepdim=True)


def share(args: SimpleNamespace) -> float:
    """Weight of an agent in the reward of the team: 1 in a sum, 1/N in a mean."""
    return 1.0 if args.reward_scalarisation == "sum" else 1.0 / args.n_agents
