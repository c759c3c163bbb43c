"""Formats rows of text as an aligned table."""

from collections.abc import Sequence


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Returns the lines of a table: the header, a rule, and the rows.

    Args:
        header: Names of the columns.
        rows: One cell per column in each row.
        left: Number of leading columns to align left, such as names; the others, such as numbers,
            are aligned right.

    Example:
    >>> for line in text_table(["term", "loss"], [["mass", "0.5"], ["energy", "12"]]):
    ...     print(line)
    term    loss
    ------  ----
    mass     0.5
    energy    12
    """
    table = [list(header), *(list(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines
