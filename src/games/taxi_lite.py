"""taxi_lite: the taxis of A-Taxi in a smaller town, with local states few enough for tables."""

import torch
from torch import Tensor

from ..functional.distributions import count_values
from .base import PopulationGame, Step, look_up
from .taxi_map import ACTIONS, APPEARS, fares, jam_probability, taxi_constants, taxi_map

ROWS, COLUMNS = 3, 3
N_ADDRESSES = 6  # R, tiles of both regions
NOBODY = 0  # status: no passenger; 1 .. R one waits at that address; R + 1 .. 2 R one rides to it
N_STATUSES = 2 * N_ADDRESSES + 1


class TaxiLite(PopulationGame):
    """A-Taxi on 3 x 3 tiles, one passenger at a time: 9 x 13 = 117 local states, and tables.

    Columns 0 and 2 are region 1 (fare 1) and region 2 (fare 1.2), column 1 is the road. A step is that of
    ``ATaxi`` but for its end: (4) if no passenger waits or rides, with probability .8 one appears, in a
    region drawn by a fair coin, on a uniform tile of it. Start: uniform tile, no passenger.

    A state is 13 tile + status: 0 for no passenger, 1 .. 6 for one who waits at that address, 7 .. 12 for
    one who rides to address 1 .. 6 (six of the 117, those of a taxi on its destination, nobody reaches).
    Rewards are drawn (a fare is paid if the last move is not jammed); ``reward_table`` is their mean.

    Args:
        n_agents: N >= 2.
        horizon: H >= 1, environment steps.
        eps: spread of the jams' probabilities, 0 .. .42.
        eps_beta: spread of the fares, 0 .. 1.
        population, device, seed: see Game.

    Raises:
        UserError: a size or a spread out of range.
    """

    map_shape = (ROWS, COLUMNS)
    map_regions = ((1, 0, 2),) * ROWS
    action_names = ACTIONS
    state_names = tuple(
        f"tile {tile}, {status}"
        for tile in range(ROWS * COLUMNS)
        for status in (
            "empty",
            *(f"{does} {address}" for does in ("fetches at", "carries to") for address in range(1, 7)),
        )
    )
    random_rewards = True
    local_transition = True
    local_reward = True
    sites: Tensor  # tile of every state, [S]

    def __init__(
        self,
        *,
        n_agents: int,
        horizon: int,
        eps: float,
        eps_beta: float,
        population: str,
        device: str | torch.device = "cpu",
        seed: int = 0,
    ) -> None:
        constants = taxi_constants(eps, eps_beta)
        self.eps, self.eps_beta = eps, eps_beta
        self.n_tiles = ROWS * COLUMNS
        law = torch.zeros(self.n_tiles, N_STATUSES, dtype=torch.float64)
        law[:, NOBODY] = 1 / self.n_tiles
        super().__init__(
            n_agents=n_agents,
            n_states=self.n_tiles * N_STATUSES,
            n_actions=len(ACTIONS),
            horizon=horizon,
            initial_law=law.flatten(),
            constants=constants,
            population=population,
            device=device,
            seed=seed,
        )
        self.n_features = 2 * self.n_tiles + N_STATUSES + 1
        self.map = taxi_map(ROWS, COLUMNS, device=self.device)
        self.sites = torch.arange(self.n_states, device=self.device) // N_STATUSES  # tile of a state [S]
        self._targets = self._reached()  # [S, A]
        self._spread = 1 + eps * self.personal  # [N]
        self._fares = fares(eps_beta, self.personal)  # [N] each
        self._after = self._statuses_after()  # [K, Z, Z] float64
        self._stayed, self._moved = self._outcomes()  # [S, 1, S] and [S, A, S] float64

    def step(self, states: Tensor, actions: Tensor, h: int = 0) -> Step:
        """Advance all agents of all episodes by one environment step; [B, N] int64 each."""
        counts = count_values(states // N_STATUSES, self.n_tiles)  # all that a step reads of the others
        return self._sample(states, actions, self._met(states, counts), self.draws(len(states)))

    def advance(self, states: Tensor, actions: Tensor, counts: Tensor, draws: Tensor, h: int = 0) -> Step:
        wide, by_tile = states.long(), counts.unflatten(-1, (self.n_tiles, N_STATUSES)).sum(-1)
        step = self._sample(wide, actions.long(), self._met(wide, by_tile), draws)
        return Step(step.next_states.to(states.dtype), step.rewards)

    def draws(self, batch_size: int) -> Tensor:
        """Three numbers an agent, [3, B, N] float32."""
        shape = (3, batch_size, self.n_agents)
        return torch.rand(shape, generator=self.generator, device=self.device)

    def sample_step(self, states: Tensor, actions: Tensor, others: Tensor) -> Step:
        by_tile = others.unflatten(-1, (self.n_tiles, N_STATUSES)).sum(-1)  # [B, S, K]
        own = self.sites.expand(len(others), -1).unsqueeze(-1)
        met = look_up(by_tile.gather(-1, own).squeeze(-1), states)
        return self._sample(states, actions, met, self.draws(len(states)))

    def _met(self, states: Tensor, counts: Tensor) -> Tensor:
        """Shares that agents meet on their tiles, counted by tile [B, K]: [B, N]."""
        itself = int(self.population == "others")
        return look_up((counts - itself) / (self.n_agents - itself), states // N_STATUSES)

    def _sample(self, states: Tensor, actions: Tensor, met: Tensor, draws: Tensor) -> Step:
        """A step of agents that meet these shares on their tiles, [B, N]."""
        status = states % N_STATUSES
        jam = jam_probability(met) * self._spread
        tile = torch.where(draws[0] < jam, states // N_STATUSES, self._targets[states, actions])
        address = self.map.address[tile]
        delivers = status - N_ADDRESSES == address
        first, second = self._fares
        rewards = torch.where(status > N_ADDRESSES + self.map.n_in_region, second, first) * delivers
        elsewhere = N_ADDRESSES + self.map.other_address(address, draws[1])
        status = torch.where(status == address, elsewhere, status).masked_fill(delivers, NOBODY)
        where = (draws[2] * (N_ADDRESSES / APPEARS)).long() + 1  # .8 / 6 each address, the rest nobody
        where = where.masked_fill(where > N_ADDRESSES, NOBODY)
        status = torch.where(status == NOBODY, where, status)
        return Step(tile * N_STATUSES + status, rewards)

    def transition_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        jam = self._jam(mu, personal).unsqueeze(-1).unsqueeze(-1)  # [..., S, 1, 1]
        stayed, moved = self._stayed.to(mu.dtype), self._moved.to(mu.dtype)
        return torch.lerp(moved, stayed, jam)

    def reward_table(self, mu: Tensor, personal: Tensor) -> Tensor:
        jam = self._jam(mu, personal).unsqueeze(-1)  # [..., S, 1]
        first, second = fares(self.eps_beta, personal.to(mu.dtype).unsqueeze(-1))  # [..., 1]
        rides = torch.arange(self.n_states, device=self.device) % N_STATUSES - N_ADDRESSES
        fare = torch.where(rides > self.map.n_in_region, second, first).unsqueeze(-1)  # [..., S, 1]
        here = (rides == self.map.address[self.sites]).to(mu.dtype)  # [S]
        there = rides.unsqueeze(-1) == self.map.address[self._targets]  # [S, A]
        return fare * torch.lerp(there.to(mu.dtype), here.unsqueeze(-1), jam)

    def _jam(self, mu: Tensor, personal: Tensor) -> Tensor:
        """Probability that a move from each state is jammed, [..., S]."""
        by_tile = mu.sum(-1).unflatten(-1, (self.n_tiles, N_STATUSES)).sum(-1)  # [..., K]
        return jam_probability(by_tile)[..., self.sites] * (1 + self.eps * personal.to(mu.dtype)).unsqueeze(
            -1
        )

    def _reached(self) -> Tensor:
        """Tile on which a taxi stands if its move is not jammed, [S, A].

        No taxi starts a step on its passenger's destination, where it would have delivered. One that is
        put there stays, so that what is sampled of these six states pays no more than others do.
        """
        rides = torch.arange(self.n_states, device=self.device) % N_STATUSES - N_ADDRESSES
        arrived = (rides == self.map.address[self.sites]).unsqueeze(-1)
        return torch.where(arrived, self.sites.unsqueeze(-1), self.map.neighbours[self.sites])

    def _outcomes(self) -> tuple[Tensor, Tensor]:
        """P(s' | s) of taxis that stay, and P(s' | s, a) of those not jammed: [S, 1, S] and [S, A, S]."""
        status = torch.arange(self.n_states, device=self.device) % N_STATUSES
        stayed = self._arrived(self.sites, status)
        moved = self._arrived(self._targets, status.unsqueeze(-1))
        return stayed.unsqueeze(1), moved

    def _arrived(self, tile: Tensor, status: Tensor) -> Tensor:
        """P(s' | tile arrived on, status before), [...] each -> [..., S] float64."""
        law = torch.zeros(*tile.shape, self.n_tiles, N_STATUSES, dtype=torch.float64, device=self.device)
        after = self._after[tile, status.expand(tile.shape)]  # [..., Z]
        where = tile[..., None, None].expand(*tile.shape, 1, N_STATUSES)
        return law.scatter_(-2, where, after.unsqueeze(-2)).flatten(-2)

    def _statuses_after(self) -> Tensor:
        """P(next status | tile arrived on, status before), parts (2) to (4) of a step: [K, Z, Z] float64."""
        after = torch.eye(N_STATUSES, dtype=torch.float64).repeat(self.n_tiles, 1, 1)
        n = self.map.n_in_region
        appears = torch.zeros(N_STATUSES, dtype=torch.float64)
        appears[NOBODY], appears[1 : N_ADDRESSES + 1] = 1 - APPEARS, APPEARS / N_ADDRESSES
        after[:, NOBODY] = appears
        for tile, address in enumerate(self.map.address.tolist()):
            if address > 0:
                after[tile, N_ADDRESSES + address] = appears  # delivers, and is empty
                start = N_ADDRESSES + 1 + n * (address > n)
                after[tile, address] = 0.0  # takes the passenger, who rides elsewhere in the region
                after[tile, address, start : start + n] = 1 / (n - 1)
                after[tile, address, N_ADDRESSES + address] = 0.0
        return after.to(self.device)

    def features(self, parts: Tensor, population: Tensor, progress: Tensor) -> Tensor:
        """One-hot tile (9), one-hot status (13), share of all agents on every tile (9), h / H: F = 32."""
        state = parts.squeeze(-1).long()
        tile = torch.eye(self.n_tiles, device=parts.device)[state // N_STATUSES]
        status = torch.eye(N_STATUSES, device=parts.device)[state % N_STATUSES]
        shares = self.on_map(population).flatten(-2).float().unsqueeze(-2).expand(*state.shape, -1)
        clock = progress.unsqueeze(-1).expand(state.shape).unsqueeze(-1).float()
        return torch.cat([tile, status, shares, clock], -1)

    def on_map(self, population: Tensor) -> Tensor:
        """Shares on the tiles, whatever the status: [..., S] -> [..., 3, 3]."""
        return population.unflatten(-1, (*self.map_shape, N_STATUSES)).sum(-1)

    def tallies(self, states: Tensor, actions: Tensor, next_states: Tensor) -> dict[str, Tensor]:
        """Taxis whose move was jammed, and those that carry a passenger."""
        tile = states // N_STATUSES
        target = self._targets[states, actions]
        jammed = (target != tile) & (next_states // N_STATUSES == tile)
        return {"jammed": jammed, "carrying": states % N_STATUSES > N_ADDRESSES}
