"""Temporal-difference targets of Q^{tau, pi} along the trajectories of agents (Yardim & He 2025, Def. 10).

The targets of ``td_targets`` are means over the visits of a cell; where observations are too many to be
counted, each visit has a target of its own and a critic is fitted to all of them.
"""

import torch
from torch import Tensor


def trajectory_targets(
    rewards: Tensor,
    entropies: Tensor,
    taken: Tensor,
    values: Tensor,
    *,
    played: Tensor,
    present: Tensor,
    tau: float,
    lam: float,
) -> Tensor:
    """Targets of Q_h(o_h, a_h), swept from the last step to the first along every agent's own trajectory.

        G_h = r_h + tau Ent(pi_h(. | o_h)) + V_{h+1}(o_{h+1}) + lam [G_{h+1} - Q_{h+1}(o_{h+1}, a_{h+1})]

    with G = V = Q = 0 from the end of the episode on. With V = sum_a pi(a | o) Q(o, a) these are the
    expected-SARSA targets of Q^pi(lambda) (Harutyunyan et al. 2016, on policy): lam = 0 bootstraps from the
    critic after one step; lam = 1 is the return with the critic as a control variate, unbiased whatever the
    critic. With V = Q(o, a) of the action taken they are SARSA(lambda)'s.

    An agent that is absent at a step decides nothing: it earns its reward there, has no entropy, and the
    step before looks through to what follows.

    Args:
        rewards: individual rewards, [B, T, N].
        entropies: Ent(pi_h(. | o_h)), [B, T, N], nats.
        taken: the critic's Q_h(o_h, a_h) of the actions played, [B, T, N].
        values: the critic's V_h(o_h), [B, T, N].
        played: the steps that were taken (``masks.counted_steps``), [B, T] bool.
        present: whether the agent was there, [B, T, N] bool.
        tau: weight of the entropy.
        lam: in [0, 1].

    Returns:
        [B, T, N], reward units; 0 at steps that were not played.
    """
    assert rewards.shape == entropies.shape == taken.shape == values.shape == present.shape, rewards.shape
    assert played.shape == rewards.shape[:2], (played.shape, rewards.shape)
    following = torch.zeros_like(rewards[:, 0])  # what comes after step h, as seen from it
    targets: list[Tensor] = []
    for h in reversed(range(rewards.shape[1])):
        here = present[:, h]
        target = rewards[:, h] + tau * torch.where(here, entropies[:, h], 0.0) + following
        target = torch.where(played[:, h].unsqueeze(-1), target, 0.0)
        corrected = values[:, h] + lam * (target - taken[:, h])
        following = torch.where(here & played[:, h].unsqueeze(-1), corrected, target)
        targets.append(target)
    return torch.stack(targets[::-1], 1)
