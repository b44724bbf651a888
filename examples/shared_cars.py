"""A game by its functions: shared cars drive where it pays and queue where they charge.

Run `python examples/shared_cars.py`, or give the yaml beside it to `mf-pmd train --env-config`.
"""

import sys

import torch

from mf_pmd import cli, games

LEVELS, DRIVE, CHARGE = 5, 0, 1
LOW = 2  # levels below it queue at the chargers


class SharedCars(games.PopulationGame):
    """Driving pays .7 (1 + spread u) - .4 nu(level > 0) and takes a level, unless the battery is empty.

    Charging pays .2 and adds a level with probability .9 - .5 nu(level < 2). `sample_step` draws for all
    cars at once; the tables say the same, so that what is learnt can be scored exactly.
    """

    def __init__(self, *, n_agents, horizon, spread, population, device="cpu", seed=0):
        self.spread = spread
        constants = games.SymmetryConstants(0.0, 0.7 * spread, 0.5, 0.2, 1.5)  # alpha, beta, L_P, L_R, L_pop
        super().__init__(
            n_agents=n_agents, n_states=LEVELS, n_actions=2, horizon=horizon, constants=constants,
            initial_law=torch.full((LEVELS,), 1 / LEVELS, dtype=torch.float64),
            population=population, device=device, seed=seed,
        )  # fmt: skip
        self._fare = 0.7 * (1 + spread * self.personal)  # [N]

    def sample_step(self, states, actions, others):
        """others [B, S, S]: row s is the distribution of the other cars for a car at level s."""
        queue = others[..., :LOW].sum(-1).gather(1, states)  # [B, N], what each car meets
        traffic = others[..., 1:].sum(-1).gather(1, states)
        drives = (actions == DRIVE) & (states > 0)
        charges = (actions == CHARGE) & (self.uniforms(len(states)) < 0.9 - 0.5 * queue)
        next_states = states - drives.long() + (charges & (states < LEVELS - 1)).long()
        rewards = torch.where(drives, self._fare - 0.4 * traffic, 0.2 * (actions == CHARGE))
        return games.Step(next_states, rewards)

    def transition_table(self, mu, personal):
        success = 0.9 - 0.5 * mu.sum(-1)[..., :LOW].sum(-1)  # [...]
        level = torch.eye(LEVELS).to(mu)
        down = level[torch.arange(LEVELS).sub(1).clamp(min=0)]
        up = level[torch.arange(LEVELS).add(1).clamp(max=LEVELS - 1)]
        charged = level + success[..., None, None] * (up - level)  # [..., S, S]
        return torch.stack([down.expand_as(charged), charged], -2)  # [..., S, A, S]

    def reward_table(self, mu, personal):
        traffic = mu[..., 1:, :].sum((-2, -1))
        fare = 0.7 * (1 + self.spread * personal) - 0.4 * traffic  # [...]
        moving = torch.arange(LEVELS, device=mu.device) > 0
        drive = fare[..., None] * moving
        return torch.stack([drive, torch.full_like(drive, 0.2)], -1)  # [..., S, A]


if __name__ == "__main__":
    settings = {"horizon": 20, "spread": 0.2, "population": "others"}
    print(games.check_game(SharedCars(n_agents=5, **settings)))
    yaml = __file__.removesuffix(".py") + ".yaml"
    sys.exit(cli.main(["train", "--config=mf_pmd_tabular", f"--env-config={yaml}", "with", *sys.argv[1:]]))
