"""A-Taxi: taxis in a town of two regions, whose local states are too many for tables."""

import torch
from torch import Tensor

from ..functional.distributions import count_values
from .game import Game, Step, require
from .taxi_map import ACTIONS, APPEARS, fares, jam_probability, taxi_constants, taxi_map

ROWS, COLUMNS = 5, 5
TILE_BITS, DESTINATION_BITS = 5, 5  # of a packed local state, from the lowest; the waiting map is above
TILE_MASK, DESTINATION_MASK = 2**TILE_BITS - 1, 2**DESTINATION_BITS - 1


class ATaxi(Game):
    """Asymmetric taxis (Yardim & He 2025, Sec. 6; N = 1000, H = 128 there; constants and demand are ours).

    5 x 5 tiles: columns 0-1 are region 1 (fare 1), columns 3-4 region 2 (fare 1.2), column 2 the road.
    A local state is the taxi's tile, its passenger's destination or none, and the map of the passengers
    who wait for this taxi: demand is personal, taxis meet in the jams alone. A step, in this order:

    1. the taxi waits or moves up, down, left, right; a move is jammed (the taxi stays) with probability
       min(.7, 10 nu(tile)) (1 + eps u_i), nu of the tile that it stands on; a move off the map stays;
    2. a carrying taxi on its destination delivers and is paid;
    3. an empty taxi on a waiting passenger's tile takes it; destination uniform over the other tiles of
       the region;
    4. in each region, with probability .8, a passenger appears on a uniform tile of it (none if one waits
       there).

    It starts on a uniform tile, empty, with no one waiting. Region g pays its fare times
    (1 + eps_beta u_i s_g), s_1 = 1, s_2 = -1, over 1.2 (1 + eps_beta).

    Packed, a state is tile + 2^5 (destination's address or 0) + 2^10 map, bit k - 1 of the map for a
    passenger at address k (see ``TaxiMap``): 25 x 21 x 2^20 = 550,502,400 of them.

    Args:
        n_agents: N >= 2.
        horizon: H >= 1, environment steps.
        eps: spread of the jams' probabilities, 0 .. .42.
        eps_beta: spread of the fares, 0 .. 1.
        observe_density: whether networks are shown how full the taxi's tile and its four neighbours are.
        population, device, seed: see Game.

    Raises:
        UserError: a size or a spread out of range.
    """

    n_parts = 3
    map_shape = (ROWS, COLUMNS)
    map_regions = ((1, 1, 0, 2, 2),) * ROWS
    state_names = tuple(f"row {row}, column {column}" for row in range(ROWS) for column in range(COLUMNS))
    action_names = ACTIONS
    random_rewards = True

    def __init__(
        self,
        *,
        n_agents: int,
        horizon: int,
        eps: float,
        eps_beta: float,
        observe_density: bool,
        population: str,
        device: str | torch.device = "cpu",
        seed: int = 0,
    ) -> None:
        constants = taxi_constants(eps, eps_beta)
        require(
            isinstance(observe_density, bool), "observe_density", observe_density, "must be True or False"
        )
        self.eps, self.eps_beta, self.observe_density = eps, eps_beta, observe_density
        super().__init__(
            n_agents=n_agents,
            n_actions=len(ACTIONS),
            n_places=ROWS * COLUMNS,
            horizon=horizon,
            constants=constants,
            population=population,
            device=device,
            seed=seed,
        )
        self.map = taxi_map(ROWS, COLUMNS, device=self.device)
        self.n_addresses = 2 * self.map.n_in_region  # R
        self.n_packed = self.n_places * (self.n_addresses + 1) << self.n_addresses
        self.n_features = self.n_places + 2 * self.n_addresses + 2 + 5 * observe_density
        self._targets = self.map.neighbours.reshape(-1)  # [K A]
        self._spread = 1 + eps * self.personal  # [N]
        self._fares = fares(eps_beta, self.personal)  # [N] each
        addresses = torch.arange(1, self.n_addresses + 1, device=self.device)
        self._bits = torch.cat([addresses.new_zeros(1), 1 << (addresses - 1)])  # of an address, 0 for none
        self._bit_at = self._bits[self.map.address.clamp(min=0)]  # of a tile, 0 on the road, [K]
        drawn = torch.arange(self._n_slots, device=self.device)
        drawn = torch.where(drawn < self.map.n_in_region, drawn + 1, 0)
        self._appearing = self._bits[drawn]  # in region 1, by slot
        in_second = torch.where(drawn > 0, drawn + self.map.n_in_region, 0)
        self._appearing_in_second = self._bits[in_second]
        self._shown = features_of_parts(self.n_places, self.n_addresses, device=self.device)

    def reset(self, batch_size: int) -> Tensor:
        """Uniform tiles, empty, no one waiting: [B, N] int64."""
        return (self.uniforms(batch_size) * self.n_places).long()

    def step(self, states: Tensor, actions: Tensor, h: int = 0) -> Step:
        """Advance all agents of all episodes by one environment step; [B, N] int64 each."""
        counts = count_values(states & TILE_MASK, self.n_places)
        return self.advance(states, actions, counts, self.draws(len(states)), h)

    def advance(self, states: Tensor, actions: Tensor, counts: Tensor, draws: Tensor, h: int = 0) -> Step:
        jam, appear, appear_second, chosen = self._used(draws)
        tile = self._drive(states & TILE_MASK, actions, counts, jam)
        destination = (states >> TILE_BITS) & DESTINATION_MASK
        waiting = states >> (TILE_BITS + DESTINATION_BITS)
        address = self.map.address[tile]
        delivers = destination == address
        first, second = self._fares
        rewards = torch.where(destination > self.map.n_in_region, second, first) * delivers
        destination = destination.masked_fill(delivers, 0)
        taken = self._bit_at[tile] & waiting & -(destination == 0).long()  # its bit, or 0
        destination = torch.where(taken > 0, self.map.other_address(address, chosen), destination)
        waiting = (waiting ^ taken) | appear | appear_second
        return Step((waiting << DESTINATION_BITS | destination) << TILE_BITS | tile, rewards)

    @property
    def _n_slots(self) -> int:
        """Values of a uniform draw times tiles over .8; those beyond the tiles stand for no passenger."""
        return int(self.map.n_in_region / APPEARS) + 1

    def draws(self, batch_size: int) -> Tensor:
        """Four numbers an agent, [4, B, N] float32."""
        shape = (4, batch_size, self.n_agents)
        return torch.rand(shape, generator=self.generator, device=self.device)

    def _used(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The jams' uniforms, the bits that appear in both regions, and a uniform.

        A slot of a region is floor(draw x 12.5): each of its ten tiles with probability .08.
        """
        slots = (draws[1:3] * (self.map.n_in_region / APPEARS)).long()
        return draws[0], self._appearing[slots[0]], self._appearing_in_second[slots[1]], draws[3]

    def _drive(self, tile: Tensor, actions: Tensor, counts: Tensor, draws: Tensor) -> Tensor:
        """Where taxis stand after their moves, some of them jammed, [B, N]; counted by tile, [B, K]."""
        itself = int(self.population == "others")  # and tiles that nobody holds are not looked up
        met = (counts - itself) / (self.n_agents - itself)
        jam = jam_probability(met).gather(1, tile) * self._spread
        return torch.where(draws < jam, tile, self._targets[tile * self.n_actions + actions])

    def places(self, states: Tensor) -> Tensor:
        """The tile."""
        return states & TILE_MASK

    def parts(self, states: Tensor) -> Tensor:
        """Tile, destination's address or 0, waiting map (below 2^20): [...] -> [..., 3] float32."""
        numbers = (
            states & TILE_MASK,
            (states >> TILE_BITS) & DESTINATION_MASK,
            states >> (TILE_BITS + DESTINATION_BITS),
        )
        return torch.stack(numbers, -1).float()

    def features(self, parts: Tensor, population: Tensor, progress: Tensor) -> Tensor:
        """What the paper's networks are shown (Yardim & He 2025, Sec. 6), F = 67, or 72 with the density.

        One-hot tile (25), one-hot destination (20), on board (1), waiting map (20), h / H (1), and if
        ``observe_density`` the density of the own tile and of those above, below, left and right of it (5):
        the share of all agents there times the number of tiles, so that it is 1 where they are spread
        evenly, and 0 outside the map.
        """
        tile, destination, waiting = parts.long().flatten(0, -2).unbind(-1)
        half = self.n_addresses // 2
        rows = (tile, destination, waiting & (1 << half) - 1, waiting >> half)
        tables = (table.to(parts.device) for table in self._shown)
        seen = [table.index_select(0, row) for table, row in zip(tables, rows, strict=True)]
        shape = parts.shape[:-1]
        seen.append(progress.unsqueeze(-1).expand(shape).reshape(-1, 1).float())
        if self.observe_density:
            seen.append(self._densities(tile.view(shape), population).flatten(0, -2))
        return torch.cat(seen, -1).view(*shape, -1)

    def tallies(self, states: Tensor, actions: Tensor, next_states: Tensor) -> dict[str, Tensor]:
        """Taxis whose move was jammed, and those that carry a passenger."""
        tile = states & TILE_MASK
        target = self._targets[tile * self.n_actions + actions]
        jammed = (target != tile) & (next_states & TILE_MASK == tile)
        return {"jammed": jammed, "carrying": (states >> TILE_BITS) & DESTINATION_MASK > 0}

    def _densities(self, tile: Tensor, population: Tensor) -> Tensor:
        """Shares of all agents on the tile and beside it, times K: [..., N] and [..., K] -> [..., N, 5]."""
        around = torch.cat([population, torch.zeros_like(population[..., :1])], -1).float()  # [..., K + 1]
        by_tile = self.n_places * around[..., self.map.beside.to(tile.device)]  # [..., K, 5]
        return by_tile.gather(-2, tile.unsqueeze(-1).expand(*tile.shape, by_tile.shape[-1]))


def features_of_parts(n_places: int, n_addresses: int, *, device: torch.device) -> tuple[Tensor, ...]:
    """What is shown of each part, a row for each of its values, so that features are looked up.

    Of a tile [K, K] and of a destination's address [R + 1, R + 1], the last number whether it is one; of the
    lower and of the upper half of the waiting map [2^(R/2), R/2] each, its bits.
    """
    addresses = torch.arange(n_addresses + 1, device=device)
    one_hot = (addresses.unsqueeze(1) == addresses[1:]).float()
    half = torch.arange(n_addresses // 2, device=device)
    bits = (torch.arange(1 << len(half), device=device).unsqueeze(1) >> half & 1).float()
    aboard = (addresses > 0).float().unsqueeze(1)
    return torch.eye(n_places, device=device), torch.cat([one_hot, aboard], 1), bits, bits
