"""The report of a Pareto front as text: a table, then the choice that it offers."""

from __future__ import annotations

import math

from keras_physreg._utils.text_table import text_table
from keras_physreg.tuner.pareto_rows import ParetoRow, ParetoRows


def report(front: ParetoRows) -> str:
    """Returns the table and the sentences."""
    count = len(front.rows)
    head = (
        f"Pareto front of {count} completed trial{'s' * (count > 1)}: {front.data_loss} against "
        f"{front.term_loss}, both unweighted, at each trial's best epoch"
    )
    return "\n\n".join([head, _table(front), _choice(front)])


def _table(front: ParetoRows) -> str:
    header = ["trial", front.data_loss, front.term_loss, "on front", "chosen", "hyperparameters"]
    rows = [_cells(row) for row in front.rows if row.on_front or row.chosen]
    return "\n".join(text_table(header, rows, left=len(header)))


def _cells(row: ParetoRow) -> list[str]:
    values = [f"{name}={_short(value)}" for name, value in row.hyperparameters.items()]
    marks = ["yes" if row.on_front else "no", "yes" if row.chosen else ""]
    return [row.trial_id, f"{row.data_loss:.4g}", f"{row.term_loss:.4g}", *marks, ", ".join(values)]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _choice(front: ParetoRows) -> str:
    if not front.front:
        return f"No completed trial has a finite {front.data_loss} and {front.term_loss}."
    least, most = front.front[0], front.front[-1]
    if len(front.front) == 1:
        text = f"There is nothing to trade off: trial {least.trial_id} is the best in both losses."
    else:
        text = (
            f"From trial {least.trial_id} to trial {most.trial_id}, {front.term_loss} falls by "
            f"{_change(least.term_loss, most.term_loss)} and {front.data_loss} rises by "
            f"{_change(least.data_loss, most.data_loss)}."
        )
    return text if front.chosen.on_front else f"{text} {_why_chosen(front)}"


def _why_chosen(front: ParetoRows) -> str:
    """Says why the tuner's choice is not on the front."""
    chosen, least = front.chosen, front.front[0]
    text = f"The chosen trial {chosen.trial_id} is not on the front: "
    if not math.isfinite(chosen.data_loss + chosen.term_loss):
        return f"{text}its {front.data_loss} or {front.term_loss} is missing or not finite."
    if chosen.data_loss == least.data_loss:
        return (
            f"{text}trial {least.trial_id} has the same {front.data_loss} and a lower "
            f"{front.term_loss}."
        )
    return f"{text}the objective of the search is not one of these two losses."


def _change(first: float, last: float) -> str:
    return f"{abs(last / first - 1):.1%}" if first > 0 else f"{abs(last - first):.4g}"
