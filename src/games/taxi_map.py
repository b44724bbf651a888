"""The map that taxis drive on: two regions, a road between them, and the jams on all tiles."""

from typing import NamedTuple

import torch
from torch import Tensor

from .constants import SymmetryConstants
from .game import require_between

ACTIONS = ("wait", "up", "down", "left", "right")
SHIFTS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  # rows and columns by which an action moves
JAM_SLOPE, MOST_JAMMED = 10.0, 0.7  # of the probability that a move is jammed, in the share met on the tile
LARGEST_EPS = 0.42  # beyond 1 / .7 - 1, .43 rounded down, a jam's probability would exceed 1
FARES = (1.0, 1.2)  # of the two regions
APPEARS = 0.8  # probability that a passenger appears
NO_ADDRESS = -1024  # of the road; so low that a status less an address is never it


class TaxiMap(NamedTuple):
    """Tiles 0 .. K - 1, row by row; those of the regions have addresses 1 .. R, the road has none.

    Addresses run row by row through region 1, left of the road, and then through region 2.

    Attributes:
        rows, columns: of the map.
        neighbours: tile reached by each action, the tile itself where it leaves the map, [K, A] int64.
        beside: the same, but K for a tile outside the map, [K, A].
        address: of a tile, NO_ADDRESS on the road, [K] int64.
        tile: of address k at k - 1, [R] int64.
    """

    rows: int
    columns: int
    neighbours: Tensor
    beside: Tensor
    address: Tensor
    tile: Tensor

    @property
    def n_tiles(self) -> int:
        """K."""
        return self.rows * self.columns

    @property
    def n_in_region(self) -> int:
        """Tiles of one region, R / 2."""
        return len(self.tile) // 2

    def other_address(self, address: Tensor, draws: Tensor) -> Tensor:
        """Another address of the same region, by uniform draws in [0, 1); for the road, meaningless."""
        n = self.n_in_region
        other = (draws * (n - 1)).long() + n * (address > n) + 1
        return other + (other >= address)


def taxi_map(rows: int, columns: int, *, device: torch.device | str = "cpu") -> TaxiMap:
    """A map of ``rows`` by an odd number of ``columns``; the middle column is the road."""
    n_tiles, road = rows * columns, columns // 2
    tiles = [(row, column) for row in range(rows) for column in range(columns)]
    beside = [
        [
            r * columns + c if 0 <= r < rows and 0 <= c < columns else n_tiles
            for r, c in ((row + down, column + right) for down, right in SHIFTS)
        ]
        for row, column in tiles
    ]
    regions = [[k for k, (_, c) in enumerate(tiles) if inside(c)] for inside in (road.__gt__, road.__lt__)]
    tile = torch.tensor([*regions[0], *regions[1]], device=device)
    address = torch.full((n_tiles,), NO_ADDRESS, device=device)
    address[tile] = torch.arange(1, len(tile) + 1, device=device)
    outside = torch.tensor(beside, device=device)
    own = torch.arange(n_tiles, device=device).unsqueeze(1)
    return TaxiMap(rows, columns, torch.where(outside == n_tiles, own, outside), outside, address, tile)


def jam_probability(share: Tensor) -> Tensor:
    """min(.7, 10 nu), of the share met on the tile where a taxi stands; for u = 0."""
    return (JAM_SLOPE * share).clamp(0.0, MOST_JAMMED)


def fares(eps_beta: float, personal: Tensor) -> tuple[Tensor, Tensor]:
    """What a delivery in region 1 and in region 2 pays, in [0, 1]; each of the shape of ``personal``.

    Fare of region g times (1 + eps_beta u s_g), s_1 = 1, s_2 = -1, over 1.2 (1 + eps_beta).
    """
    largest = max(FARES) * (1 + eps_beta)
    first, second = (
        fare * (1 + eps_beta * sign * personal) / largest for fare, sign in zip(FARES, (1, -1), strict=True)
    )
    return first, second


def taxi_constants(eps: float, eps_beta: float) -> SymmetryConstants:
    """alpha, beta and the Lipschitz constants of games of taxis; docs/a_taxi.md derives them.

    The crowd and u enter an agent's law through the probability J of a jam alone, between a law of staying
    and one of moving that share no next state. A delivery's fare is paid if its last move is not jammed,
    so that the expected reward R reads J too.

    Raises:
        UserError: a spread out of range.
    """
    require_between("eps", eps, 0.0, LARGEST_EPS)
    require_between("eps_beta", eps_beta, 0.0, 1.0)
    jammed = MOST_JAMMED * max(0.0, eps - eps_beta * (1 - eps))
    return SymmetryConstants(
        alpha=2 * MOST_JAMMED * eps,
        beta=(eps_beta + jammed) / (1 + eps_beta),
        lipschitz_transition=JAM_SLOPE,
        lipschitz_reward=JAM_SLOPE / 2 / (1 + eps_beta),
        lipschitz_population=1 + 2 * MOST_JAMMED,
        monotone=False,
    )
