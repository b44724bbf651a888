"""Text in columns."""

from collections.abc import Iterable, Sequence


def aligned(rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """Rows of cells as lines, columns flush left and two blanks apart."""
    table = [list(row) for row in rows]
    widths = [0] * max(map(len, table))
    for row in table:
        for k, cell in enumerate(row):
            widths[k] = max(widths[k], len(cell))
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
