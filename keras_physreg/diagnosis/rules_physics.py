"""Rules about physics that mixes rows, or moves the network's state."""

from __future__ import annotations

from collections.abc import Iterator

from keras_physreg.diagnosis.finding import Finding, Severity
from keras_physreg.diagnosis.physics_probe import PhysicsProbe

MAX_LISTED = 3


def physics_findings(probe: PhysicsProbe) -> Iterator[Finding]:
    """Yields findings about the physics of each term, and of each physics layer."""
    for term in probe.broadcasts:
        yield from _mixed_rows(term, probe)
    for term, paths in probe.updates.items():
        yield from _moved_state(term, paths)


def _mixed_rows(term: str, probe: PhysicsProbe) -> Iterator[Finding]:
    moved, broadcasts = probe.moved_rows.get(term), probe.broadcasts[term]
    seen = f"as one row changes, its output moves in {moved} of the {probe.rows - 1} other rows"
    if broadcasts and moved is None:
        yield _broadcast(term, "warning", f"seen on {probe.rows} rows, whose outputs are one value")
    elif broadcasts and moved:
        yield _broadcast(term, "error", seen)
    elif moved:
        yield Finding(
            "mixes-rows",
            "warning" if broadcasts is None else "info",
            term,
            f"'{term}' couples the rows of a batch: {seen}.",
            "That is right where the physics normalises over the batch, takes means of it or "
            "compares pairs of rows; the term then depends on the batch size. If each row should "
            "stand alone, look for a sum or mean over axis 0, and for `(rows,)` beside "
            "`(rows, 1)`: the physics of one row alone must give what it gives in the batch.",
        )


def _broadcast(term: str, severity: Severity, seen: str) -> Finding:
    return Finding(
        "mixes-rows",
        severity,
        term,
        f"'{term}' mixes rows: a tensor of shape `(rows,)` is broadcast against one of shape "
        f"`(rows, 1)`, so that every row meets every other ({seen}).",
        "Give both one shape: `keras.ops.squeeze(a, -1)` makes `(rows,)` of `(rows, 1)`, and "
        "`b[:, None]` the reverse. Where pairs of rows are meant, write `a - b[None, :]`.",
    )


def _moved_state(term: str, paths: tuple[str, ...]) -> Iterator[Finding]:
    more = ", ..." if len(paths) > MAX_LISTED else ""
    yield Finding(
        "moves-network-state",
        "warning",
        term,
        f"The physics of '{term}' calls layers of the network in training and moves {len(paths)} "
        f"of their variables, unless all its weights are 0: {', '.join(paths[:MAX_LISTED])}{more}.",
        "Call them with `training=False` in the physics; else the points of the physics count in "
        "the network's statistics, too.",
    )
