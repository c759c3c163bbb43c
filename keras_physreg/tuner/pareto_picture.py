"""The picture of a Pareto front: a term's loss of every trial against its data loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_physreg.plotting import pyplot
from keras_physreg.tuner.pareto_rows import ParetoRow, ParetoRows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRONT, CHOSEN = "#0072b2", "#d55e00"
MIN_RATIO_OF_LOG_AXIS = 5.0  # of the largest loss to the smallest


def plot_pareto(front: ParetoRows) -> Figure:
    """Draws all completed trials, the front as a staircase, and the chosen trial.

    Trials above and to the right of the staircase are worse than a trial on the front. If the
    term's weight is a hyperparameter, it sets the colour of the trials; trials with the term off
    are hollow. An axis is logarithmic if its losses are above 0 and differ widely.

    Args:
        front: What `pareto_front` returned.

    Returns:
        The matplotlib figure. Show it with `matplotlib.pyplot.show()`, or save it with `savefig`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If no trial has two finite losses.
    """
    rows = [row for row in front.rows if np.isfinite([row.data_loss, row.term_loss]).all()]
    if not rows:
        raise ValueError(
            f"No completed trial has a finite {front.data_loss} and {front.term_loss}: there is "
            "nothing to draw. Look for NaN in the validation rows with `diagnose`."
        )
    figure, ax = pyplot().subplots(figsize=(7, 5), layout="constrained")
    _draw_front(ax, front.front)
    _draw_trials(ax, front.term, rows)
    chosen = [row for row in rows if row.chosen]
    if chosen:
        ax.plot(*_losses(chosen), "*", color=CHOSEN, markersize=15, label="chosen trial", zorder=4)
    _scale(ax, rows)
    ax.set_xlabel(f"{front.data_loss} (unweighted)")
    ax.set_ylabel(f"{front.term_loss} (unweighted)")
    ax.grid(alpha=0.3, which="both")
    figure.legend(loc="outside upper left", ncols=4, frameon=False)
    return figure


def _draw_front(ax: Axes, front: list[ParetoRow]) -> None:
    ax.plot(
        *_losses(front), color=FRONT, drawstyle="steps-post", linewidth=1.5, label="Pareto front"
    )


def _draw_trials(ax: Axes, term: str, rows: list[ParetoRow]) -> None:
    tuned = any(f"{term}_weight" in row.hyperparameters for row in rows)
    weighted = [row for row in rows if f"{term}_weight" in row.hyperparameters]
    others = [row for row in rows if f"{term}_weight" not in row.hyperparameters]
    if others:
        label = f"trial with {term} off" if tuned else "trial"
        ax.scatter(
            *_losses(others), s=28, facecolor="white", edgecolor="0.3", label=label, zorder=3
        )
    if weighted:
        weights = [row.hyperparameters[f"{term}_weight"] for row in weighted]
        points = ax.scatter(
            *_losses(weighted), s=28, c=weights, norm="log", cmap="viridis", label="trial", zorder=3
        )
        ax.figure.colorbar(points, ax=ax, label=f"weight of {term} [1 / loss]")


def _losses(rows: list[ParetoRow]) -> tuple[list[float], list[float]]:
    return [row.data_loss for row in rows], [row.term_loss for row in rows]


def _scale(ax: Axes, rows: list[ParetoRow]) -> None:
    data, term = _losses(rows)
    if min(data) * MIN_RATIO_OF_LOG_AXIS < max(data) and min(data) > 0:
        ax.set_xscale("log")
    if min(term) * MIN_RATIO_OF_LOG_AXIS < max(term) and min(term) > 0:
        ax.set_yscale("log")
