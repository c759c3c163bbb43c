"""Which variants of a test the default run takes: CI runs the others, too."""

import pytest


def slow_but(quick, kinds):
    """Returns kinds for `parametrize`, of which those not in `quick` are marked slow."""

    def marked(kind):
        kept = hasattr(kind, "marks") or kind in quick
        return kind if kept else pytest.param(kind, marks=pytest.mark.slow)

    return [marked(kind) for kind in kinds]


def slow_but_rows(quick, rows):
    """The same for rows of several arguments: those at the positions in `quick` are quick."""

    def marked(position, row):
        kept = position in quick or hasattr(row, "marks")
        return row if kept else pytest.param(*row, marks=pytest.mark.slow)

    return [marked(position, row) for position, row in enumerate(rows)]
