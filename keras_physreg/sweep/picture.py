"""The picture of a sanity sweep: losses against the weight of each term."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_physreg.plotting import pyplot
from keras_physreg.sweep.measured import MeasuredSweep
from keras_physreg.sweep.recommendation import Recommendation
from keras_physreg.sweep.term_sweep import TermSweep
from keras_physreg.sweep.verdict import TermVerdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIN, HELD_OUT = "#e69f00", "#0072b2"
BETTER, WORSE = "#009e73", "#d55e00"


def plot_sweep(result: MeasuredSweep, recommended: Recommendation) -> Figure:
    """Draws a column a term: the score, the gain that decides, the term's loss with its floor.

    Lines of losses are medians over seeds, bands go from the lowest to the highest seed. Gains are
    means of paired differences to "off", with the interval that holds for all weights together.
    Shaded is where the score is surely better (green) or worse (red, or diverges).

    Args:
        result: What `sanity_sweep` returned.

    Returns:
        The matplotlib figure. Show it with `matplotlib.pyplot.show()`, or save it with `savefig`.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    columns = len(result.terms)
    figure, axes = pyplot().subplots(
        3,
        columns,
        figsize=(1.0 + 4.6 * columns, 8.6),
        sharex="col",
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for (name, term), (above, middle, below) in zip(result.terms.items(), axes.T, strict=True):
        verdict = result.verdicts[name]
        places = _places(term.weights)
        _draw_score(above, places, term, verdict)
        _draw_gain(middle, places, verdict, result.settings.confidence)
        _draw_term(below, places, term)
        above.set_title(f"{name}: {verdict.verdict}")
        below.set_xlabel(f"weight of {name} [1 / loss]")
    axes[0, 0].set_ylabel(f"{result.settings.monitor.removeprefix('val_')} ({_epoch(result)})")
    axes[1, 0].set_ylabel("gain over off [%]")
    axes[2, 0].set_ylabel("term loss, unweighted")
    _zoom_on_gains(axes[1, 0], result)
    figure.legend(*_labels(axes), loc="outside upper left", ncols=2 + columns, frameon=False)
    return figure


def _zoom_on_gains(ax: Axes, result: MeasuredSweep) -> None:
    """Cuts off what is far worse: the shade tells it, and it would flatten all gains."""
    highest = np.concatenate([verdict.high for verdict in result.verdicts.values()])
    limit = 1.5 * max(10.0, np.max(highest, initial=0.0, where=np.isfinite(highest)))
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -limit), high)


def _epoch(result: MeasuredSweep) -> str:
    return f"{result.settings.score} epoch"


def _labels(panels: np.ndarray) -> tuple[list, list]:
    """Returns handles and labels of all panels, each label once."""
    found: dict[str, Any] = {}
    for axes in panels.ravel():
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)


def _places(weights: np.ndarray) -> np.ndarray:
    """Returns where the weights stand on the log axis: "off" two steps left of the first."""
    ratio = weights[2] / weights[1] if len(weights) > 2 else 10.0
    return np.concatenate([[weights[1] / ratio**2], weights[1:]])


def _draw_score(ax: Axes, places: np.ndarray, term: TermSweep, verdict: TermVerdict) -> None:
    _band(ax, places, term.measured["train_score"], TRAIN, "training")
    _band(ax, places, term.measured["score"], HELD_OUT, "validation")
    if np.nanmin(term.measured["score"], initial=np.inf) > 0:
        ax.set_yscale("log")
    _shade(ax, places, verdict)
    _axis(ax, places, term.weights)


def _draw_gain(ax: Axes, places: np.ndarray, verdict: TermVerdict, confidence: float) -> None:
    below, above = verdict.gains - verdict.low, verdict.high - verdict.gains
    spans = np.where(np.isfinite([below, above]), [below, above], 0.0)
    label = f"mean and {100 * confidence:g}% interval"
    ax.axhline(0, color="black", linewidth=0.8)
    ax.errorbar(
        places[1:],
        verdict.gains,
        spans,
        color=HELD_OUT,
        marker="o",
        markersize=3,
        capsize=3,
        linestyle="",
        label=label,
    )
    _shade(ax, places, verdict)
    _axis(ax, places, np.concatenate([[0.0], verdict.weights]))


def _draw_term(ax: Axes, places: np.ndarray, term: TermSweep) -> None:
    _band(ax, places, term.measured["term_loss"], TRAIN, "training")
    _band(ax, places, term.measured["val_term_loss"], HELD_OUT, "validation")
    for floor, colour, where in (
        (term.floor, TRAIN, "training"),
        (term.val_floor, HELD_OUT, "validation"),
    ):
        if floor:
            ax.axhline(floor, color=colour, linestyle=":", label=f"{where} floor")
    ax.set_yscale("log")
    _axis(ax, places, term.weights)


def _band(ax: Axes, places: np.ndarray, values: np.ndarray, colour: str, label: str) -> None:
    shown = np.isfinite(values).any(axis=1)
    places, values = places[shown], values[shown]
    middle, low, high = (f(values, axis=1) for f in (np.nanmedian, np.nanmin, np.nanmax))
    # The baseline stands apart: no line leads from "off" to the first weight.
    ax.plot(places[1:], middle[1:], color=colour, marker="o", markersize=3, label=label)
    ax.fill_between(places[1:], low[1:], high[1:], color=colour, alpha=0.2, linewidth=0)
    ax.errorbar(
        places[:1],
        middle[:1],
        [middle[:1] - low[:1], high[:1] - middle[:1]],
        color=colour,
        marker="o",
        markersize=3,
        capsize=3,
    )


def _shade(ax: Axes, places: np.ndarray, verdict: TermVerdict) -> None:
    weights = places[1:]
    edges = np.sqrt(weights[1:] * weights[:-1]) if len(weights) > 1 else np.array([])
    ratio = np.sqrt(weights[1] / weights[0]) if len(weights) > 1 else 3.0
    edges = np.concatenate([[weights[0] / ratio], edges, [weights[-1] * ratio]])
    kinds = {"better": (BETTER, "better"), "worse": (WORSE, "worse"), "diverges": (WORSE, "worse")}
    for i, change in enumerate(verdict.changes):
        if change in kinds:
            colour, label = kinds[change]
            span = (edges[i], edges[i + 1])
            ax.axvspan(*span, color=colour, alpha=0.12, linewidth=0, label=label)


def _axis(ax: Axes, places: np.ndarray, weights: np.ndarray) -> None:
    ax.set_xscale("log")
    stride = -(-(len(weights) - 1) // 6)
    shown = list(range(len(weights) - 1, 0, -stride))
    ax.set_xticks([places[0], *places[shown]], ["off", *(_power(weights[i]) for i in shown)])
    ax.xaxis.set_minor_locator(pyplot().NullLocator())
    ax.grid(alpha=0.3)


def _power(weight: float) -> str:
    exponent = float(np.log10(weight))
    return f"$10^{{{exponent:.0f}}}$" if abs(exponent - round(exponent)) < 1e-6 else f"{weight:.2g}"
