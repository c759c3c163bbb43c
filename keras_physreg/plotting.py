"""Plots of schedules, and the import of matplotlib, which happens on the first plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from keras_physreg._utils.errors import received
from keras_physreg.schedules import checks
from keras_physreg.schedules.values import as_schedule, weight_at

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PLOTTED_TIMES = 2000


def pyplot() -> Any:
    """Returns matplotlib's pyplot; raises `ImportError` with the command that installs it."""
    try:
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise ImportError('Plots need matplotlib: pip install "keras_physreg[plot]"') from error
    return plt


def plot_schedules(
    schedules: Mapping[str, Any], steps: int, unit: str = "epoch", ax: Axes | None = None
) -> Figure:
    """Plots the weights of schedules over time on a log axis, where weights of 0 are at "off".

    Args:
        schedules: Dict from term names to schedules, as in `WeightScheduler`.
        steps: Number of epochs or steps to plot, from 0 on; of more than 2000, only 2000 evenly
            spaced ones are evaluated.
        unit: Unit of the time, the label of the horizontal axis: `"epoch"` or `"step"`.
        ax: Matplotlib axes to plot on; `None` for those of a new figure.

    Returns:
        The matplotlib figure. Show it with `matplotlib.pyplot.show()`, or save it with `savefig`.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there are no schedules, or one returns something that is not a weight.

    Example:
    >>> figure = plot_schedules({"x": lambda epoch: 0.5**epoch, "z": [0, 0, 1e-3, 1.0]}, steps=10)
    >>> figure.axes[0].get_ylabel()
    'term weight'
    """
    if not schedules:
        raise ValueError(
            "plot_schedules: `schedules` must name at least one term. "
            + received("schedules", schedules)
        )
    end = int(checks.moment("plot_schedules", "steps", steps, minimum=1))
    times = np.unique(np.linspace(0, end - 1, min(end, MAX_PLOTTED_TIMES)).astype(int))
    weights = {name: _weights_at(name, schedule, times) for name, schedule in schedules.items()}
    if ax is None:
        _, ax = pyplot().subplots(figsize=(7, 4), layout="constrained")
    draw_weights(ax, np.append(times, end), {k: np.append(v, v[-1]) for k, v in weights.items()})
    ax.set_xlabel(unit)
    return cast("Figure", ax.figure)


def draw_weights(ax: Axes, times: np.ndarray, weights: Mapping[str, np.ndarray]) -> None:
    """Draws one step line per term, with weights of 0 at a tick labelled "off"."""
    everything = np.concatenate(list(weights.values()))
    positive = everything[everything > 0] if np.any(everything > 0) else np.ones(1)
    low, high = int(np.floor(np.log10(positive.min()))), int(np.ceil(np.log10(positive.max())))
    stride = max(1, (high - low) // 10)
    off = 10.0 ** (low - stride)
    for name, values in weights.items():
        ax.plot(times, np.where(values > 0, values, off), drawstyle="steps-post", label=name)
    ticks = {10.0**e: f"$10^{{{e}}}$" for e in range(high, low - 1, -stride)}
    if np.any(everything == 0):
        ticks[off] = "off"
    ax.set_yscale("log")
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    ax.set_ylabel("term weight")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False)


def _weights_at(name: str, schedule: Any, times: np.ndarray) -> np.ndarray:
    schedule = as_schedule(name, schedule)
    return np.array([weight_at(name, schedule, int(time)) for time in times])
