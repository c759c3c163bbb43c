"""The picture of a sanity sweep: losses, gains and probabilities against the weights."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_physreg.plotting import pyplot
from keras_physreg.sweep.measured import MeasuredSweep
from keras_physreg.sweep.other_words import listed
from keras_physreg.sweep.recommendation import Recommendation
from keras_physreg.sweep.settings import SweepSettings
from keras_physreg.sweep.term_sweep import TermSweep
from keras_physreg.sweep.verdict import TermVerdict
from keras_physreg.sweep.wording import rows_and_splits, rows_word, score_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAIN, HELD_OUT, RECOMMENDED = "#e69f00", "#0072b2", "#009e73"
HARM = "#d55e00"
PROBABILITY = "BrBG"  # colour map: brown is surely worse, white uncertain, green surely better
MAX_TICK_LABELS = 6  # on the axis of weights
SMALL_FONT = 7


def plot_sweep(sweep: MeasuredSweep, recommended: Recommendation) -> Figure:
    """Draws a column per term: held-out losses, gains, and the term's loss with its floor.

    Top: the score of each split (with validation data: of each seed), and its mean, which is
    geometric where all scores are above 0. The probability that a weight helps is the number above
    its point, and the point's colour. Middle: the gains with their intervals, which hold for all
    weights together. The numbers above are the epochs at which the weights are scored. Bottom: the
    unweighted loss of the term, a mean of the same kind. A vertical line marks the recommended
    weight. Weights that hurt, surely or probably, or diverge are shaded.

    Args:
        sweep: What was measured.
        recommended: What is recommended to train with.

    Returns:
        The matplotlib figure. Show it with `matplotlib.pyplot.show()`, or save it with `savefig`.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    columns = len(sweep.terms)
    figure, axes = pyplot().subplots(
        3,
        columns,
        figsize=(1.4 + 4.6 * columns, 9.4),
        sharex="col",
        sharey="row",
        squeeze=False,
        layout="constrained",
    )
    for (name, term), (above, middle, below) in zip(sweep.terms.items(), axes.T, strict=True):
        verdict, positions = sweep.verdicts[name], _axis_positions(term.weights)
        _draw_score(above, positions, term, verdict, sweep.settings)
        _draw_gain(middle, positions, verdict, sweep.settings.confidence)
        _draw_term(below, positions, term)
        for ax in (above, middle, below):
            _mark_recommended(ax, positions, term.weights, recommended.weights.get(name, 0.0))
            _format_axis(ax, positions, term.weights)
        _write_numbers(above, positions[1:], [_percent(p) for p in verdict.better], "helps %")
        if term.scored_epochs is not None:
            _write_numbers(middle, positions, [str(e or "") for e in term.scored_epochs], "epoch")
        above.set_title(f"{name}: {verdict.verdict}", pad=22)
        below.set_xlabel(f"weight of {name} [1 / loss]")
    axes[0, 0].set_ylabel(score_name(sweep.settings))
    axes[1, 0].set_ylabel("gain over off [%]")
    axes[2, 0].set_ylabel("term loss, unweighted")
    _zoom_on_gains(axes[1, 0], sweep)
    figure.suptitle(_heading(sweep, 70 * columns), fontsize=9)
    handles, labels = _legend_entries(axes)
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(columns + 1, 4), frameon=False
    )
    return figure


def _heading(sweep: MeasuredSweep, width: int) -> str:
    lines = textwrap.wrap(rows_and_splits(sweep.settings), width)
    if sweep.combined is not None and sweep.combined_verdict is not None:
        verdict, weights = sweep.combined_verdict, listed(sweep.combined_weights)
        text = f"Together, {weights}: {verdict.verdict}, gain {verdict.gain:.0f} %"
        lines += textwrap.wrap(text, width)
    return "\n".join(lines)


def _axis_positions(weights: np.ndarray) -> np.ndarray:
    """Returns the positions of the weights on the log axis: "off" two steps left of the first."""
    ratio = weights[2] / weights[1] if len(weights) > 2 else 10.0
    return np.concatenate([[weights[1] / ratio**2], weights[1:]])


def _draw_score(
    ax: Axes, positions: np.ndarray, term: TermSweep, verdict: TermVerdict, settings: SweepSettings
) -> None:
    scores = term.measured["score"]
    positive = np.nanmin(scores, initial=np.inf) > 0
    units = _mean(scores, positive) if term.cross_validated else scores
    each = "one split" if term.cross_validated else "one seed"
    rows = rows_word(settings)
    for i, line in enumerate(units.T):
        label = f"{each}, held-out {rows}" if i == 0 else None
        ax.plot(positions[1:], line[1:], color=HELD_OUT, alpha=0.2, linewidth=0.7, label=label)
        ax.plot(positions[:1], line[:1], color=HELD_OUT, alpha=0.3, marker="_", markersize=7)
    if positive:
        ax.set_yscale("log")
    kind = "geometric mean" if positive else "mean"
    mean = _mean(units, positive)
    ax.plot(
        positions[1:], mean[1:], color=HELD_OUT, linewidth=1.5, label=f"{kind}, held-out {rows}"
    )
    train = _mean(term.measured["train_score"].reshape(len(mean), -1), positive)
    ax.plot(positions[1:], train[1:], color=TRAIN, linewidth=1.2, label=f"{kind}, training {rows}")
    ax.plot(positions[:1], train[:1], color=TRAIN, marker=".", markersize=6)
    ax.scatter(
        positions,
        mean,
        c=[0.0, *np.nan_to_num(verdict.better - verdict.worse)],
        cmap=PROBABILITY,
        vmin=-1,
        vmax=1,
        edgecolors="black",
        linewidths=0.6,
        s=34,
        zorder=3,
    )


def _mean(values: np.ndarray, positive: bool) -> np.ndarray:
    """Returns the mean over the last axis, geometric for positive values, as verdicts use it.

    It is NaN where a value is missing.
    """
    return np.exp(np.log(values).mean(axis=-1)) if positive else values.mean(axis=-1)


def _draw_gain(ax: Axes, positions: np.ndarray, verdict: TermVerdict, confidence: float) -> None:
    below, above = verdict.gains - verdict.low, verdict.high - verdict.gains
    spans = np.where(np.isfinite([below, above]), [below, above], 0.0)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.errorbar(
        positions[1:],
        verdict.gains,
        spans,
        color=HELD_OUT,
        marker="o",
        markersize=3,
        capsize=3,
        linestyle="",
        label=f"gain, {100 * confidence:g} % intervals of all weights",
    )
    _shade_harm(ax, positions, verdict)


def _draw_term(ax: Axes, positions: np.ndarray, term: TermSweep) -> None:
    quantities = (("term_loss", TRAIN), ("val_term_loss", HELD_OUT))
    for key, colour in quantities:
        values = term.measured[key].reshape(len(positions), -1)
        positive = np.nanmin(values, initial=np.inf) > 0
        mean = _mean(values, bool(positive))
        for part in (slice(1), slice(1, None)):  # No line leads from "off" to the first weight.
            ax.plot(positions[part], mean[part], color=colour, marker="o", markersize=3)
    floors = [(term.floor, TRAIN, "training"), (term.val_floor, HELD_OUT, "held-out")]
    if term.floor == term.val_floor:
        floors = [(term.floor, "black", "all labelled")]
    for floor, colour, rows in floors:
        if floor:
            ax.axhline(floor, color=colour, linestyle=":", label=f"floor, {rows} rows")
    ax.set_yscale("log")


def _shade_harm(ax: Axes, positions: np.ndarray, verdict: TermVerdict) -> None:
    weights = positions[1:]
    edges = np.sqrt(weights[1:] * weights[:-1]) if len(weights) > 1 else np.array([])
    ratio = np.sqrt(weights[1] / weights[0]) if len(weights) > 1 else 3.0
    edges = np.concatenate([[weights[0] / ratio], edges, [weights[-1] * ratio]])
    for i, change in enumerate(verdict.changes):
        if change.harms:
            span = (edges[i], edges[i + 1])
            ax.axvspan(*span, color=HARM, alpha=0.12, linewidth=0, label="hurts or diverges")


def _mark_recommended(ax: Axes, positions: np.ndarray, weights: np.ndarray, weight: float) -> None:
    if weight in weights.tolist():
        at = positions[weights.tolist().index(weight)]
        ax.axvline(at, color=RECOMMENDED, linewidth=5, alpha=0.3, zorder=0, label="recommended")


def _write_numbers(ax: Axes, positions: np.ndarray, texts: list[str], what: str) -> None:
    """Writes a number above the panel at each position, and on the left what they are."""
    for position, text in zip(positions, texts, strict=True):
        ax.annotate(
            text,
            (position, 1.0),
            (0, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            fontsize=SMALL_FONT,
        )
    ax.annotate(
        what,
        (0.0, 1.0),
        (-4, 3),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        fontsize=SMALL_FONT,
    )


def _percent(probability: float) -> str:
    return f"{100 * probability:.0f}" if np.isfinite(probability) else ""


def _zoom_on_gains(ax: Axes, sweep: MeasuredSweep) -> None:
    """Cuts the axis at large losses, which would flatten all gains; those weights are shaded."""
    highest = np.concatenate([verdict.high for verdict in sweep.verdicts.values()])
    limit = 1.5 * max(10.0, np.max(highest, initial=0.0, where=np.isfinite(highest)))
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, -limit), min(high, 105.0))


def _legend_entries(panels: np.ndarray) -> tuple[list, list]:
    """Returns the handles and labels of all panels, each label once."""
    found: dict[str, Any] = {}
    for axes in panels.ravel():
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)


def _format_axis(ax: Axes, positions: np.ndarray, weights: np.ndarray) -> None:
    ax.set_xscale("log")
    stride = -(-(len(weights) - 1) // MAX_TICK_LABELS)
    shown = list(range(len(weights) - 1, 0, -stride))
    ax.set_xticks([positions[0], *positions[shown]], ["off", *(_power(weights[i]) for i in shown)])
    ax.xaxis.set_minor_locator(pyplot().NullLocator())
    ax.grid(alpha=0.3)


def _power(weight: float) -> str:
    exponent = float(np.log10(weight))
    return f"$10^{{{exponent:.0f}}}$" if abs(exponent - round(exponent)) < 1e-6 else f"{weight:.2g}"
