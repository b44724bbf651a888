"""How actions are drawn from what a controller puts out.

Each declares as ``reads`` whether that is policies or action values (see ``utils/registries.py``).
"""

from types import SimpleNamespace

import torch
from torch import Tensor
from torch.distributions import Categorical


def linear_decay(t_env: int, *, start: float, finish: float, duration: int) -> float:
    """From `start` at step 0 down to `finish` at step `duration`, and `finish` from there on."""
    if duration <= 0:
        return finish
    return start + (finish - start) * min(t_env / duration, 1.0)


class _Annealed:
    """An exploration rate that falls linearly in environment steps."""

    def __init__(self, args: SimpleNamespace):
        self.args = args
        self.epsilon = self._scheduled(0)

    def _scheduled(self, t_env: int) -> float:
        return linear_decay(
            t_env,
            start=self.args.epsilon_start,
            finish=self.args.epsilon_finish,
            duration=self.args.epsilon_anneal_time,
        )


class SoftPoliciesSelector:
    """Samples the policies as they are, in test mode too."""

    reads = "policies"

    def __init__(self, args: SimpleNamespace):
        self.args = args

    def select_action(
        self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False
    ) -> Tensor:
        """Actions ``[B, N]`` long from policies ``[B, N, A]``."""
        return Categorical(agent_inputs).sample()


class MultinomialSelector(_Annealed):
    """Samples the policies over the available actions; in test mode the likeliest action if `test_greedy`."""

    reads = "policies"

    def select_action(
        self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False
    ) -> Tensor:
        """Actions ``[B, N]`` long from policies ``[B, N, A]`` and the mask ``[B, N, A]``."""
        self.epsilon = self._scheduled(t_env)
        policies = agent_inputs.masked_fill(avail_actions == 0, 0.0)
        if test_mode and self.args.test_greedy:
            return policies.argmax(dim=-1)
        return Categorical(policies).sample()


class EpsilonGreedySelector(_Annealed):
    """The best available action, or with probability epsilon any available one."""

    reads = "action values"

    def select_action(
        self, agent_inputs: Tensor, avail_actions: Tensor, t_env: int, test_mode: bool = False
    ) -> Tensor:
        """Actions ``[B, N]`` long from action values ``[B, N, A]`` and the mask ``[B, N, A]``."""
        self.epsilon = self.args.evaluation_epsilon if test_mode else self._scheduled(t_env)
        greedy = agent_inputs.masked_fill(avail_actions == 0, -float("inf")).argmax(dim=-1)
        if self.epsilon == 0:
            return greedy
        draws = torch.rand_like(agent_inputs).masked_fill(avail_actions == 0, -1.0)
        uniform = draws.argmax(dim=-1)  # the largest of iid draws is each of them alike
        explore = torch.rand_like(agent_inputs[..., 0]) < self.epsilon
        return torch.where(explore, uniform, greedy)


REGISTRY = {
    "soft_policies": SoftPoliciesSelector,
    "multinomial": MultinomialSelector,
    "epsilon_greedy": EpsilonGreedySelector,
}
