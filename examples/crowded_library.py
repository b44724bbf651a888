"""A game by its tables: readers choose between a hall and a cafe, and mind the crowd more or less.

Run `python examples/crowded_library.py`, or give the yaml beside it to `mf-pmd train --env-config`.
"""

import sys

import torch

from mf_pmd import cli, games


class CrowdedLibrary(games.TableGame):
    """A reader gets the seat it wants with probability .9; the rarer room to sit in pays more."""

    state_names = ("hall", "cafe")

    def __init__(self, *, n_agents, horizon, spread, population, device="cpu", seed=0):
        self.spread = spread
        super().__init__(
            n_agents=n_agents, n_states=2, n_actions=2, horizon=horizon, initial_law=torch.tensor([0.5, 0.5]),
            constants=games.SymmetryConstants(0.0, 0.6 * spread, 0.0, 0.3, 1.0),
            population=population, device=device, seed=seed,
        )  # fmt: skip
        self.comfort = torch.tensor([0.9, 0.5], device=self.device)  # once, not at every step
        self.noise = torch.tensor([0.6, 0.2], device=self.device)

    def transition_table(self, mu, personal):
        rooms = torch.eye(2, dtype=mu.dtype, device=mu.device)
        law = 0.1 * rooms[:, None] + 0.9 * rooms  # [S, A, S]: stay where you are, or go where you want
        return law.expand(*mu.shape[:-2], 2, 2, 2)

    def reward_table(self, mu, personal):
        annoyance = self.noise.to(mu) * (1 + self.spread * personal[..., None])
        pay = self.comfort.to(mu) - annoyance * mu.sum(-1)  # [..., S]
        return pay[..., None].expand(*pay.shape, 2)


if __name__ == "__main__":
    settings = {"horizon": 10, "spread": 0.2, "population": "others"}
    print(games.check_game(CrowdedLibrary(n_agents=5, **settings)))
    yaml = __file__.removesuffix(".py") + ".yaml"
    sys.exit(cli.main(["train", "--config=mf_pmd_tabular", f"--env-config={yaml}", "with", *sys.argv[1:]]))
