"""Pictures of a diagnosis, and of gradients over the epochs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_physreg.diagnosis.measured import DiagnosisData
from keras_physreg.diagnosis.text import counts, title
from keras_physreg.plotting import pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DATA_COLOUR, TERM_COLOUR, HELD_OUT_COLOUR = "0.55", "C0", "C1"
LABELS = {
    "norm": "norm of the unweighted gradient",
    "ratio": "weighted norm / data norm",
    "cosine": "cosine with the data gradient",
}


def plot_diagnosis(diagnosis: DiagnosisData) -> Figure:
    """Draws weighted gradient norms, cosines with the data gradient, and losses against floors.

    Args:
        diagnosis: What `diagnose` returned.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    height = 2.2 + 0.45 * len(diagnosis.terms)
    figure, axes = pyplot().subplots(1, 3, figsize=(12, height), layout="constrained")
    _draw_norms(axes[0], diagnosis)
    _draw_cosines(axes[1], diagnosis)
    _draw_floors(axes[2], diagnosis)
    figure.suptitle(f"{title(diagnosis)}\n{counts(diagnosis)}", fontsize="medium")
    return figure


def plot_gradient_history(
    history: Mapping[str, Sequence[float]], epochs: Sequence[int] | None = None
) -> Figure:
    """Draws what a `GradientMonitor` logged: norms, ratios and cosines over the epochs.

    Args:
        history: Dict from log key to a list with a value per measured epoch: `history` of a
            `GradientMonitor`, or that of the `History` that `fit` returns.
        epochs: The measured epochs; 0, 1, 2, ... if left out.

    Returns:
        The matplotlib figure.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the history holds no gradients, or another number of epochs.

    Example:
    >>> from keras_physreg.diagnosis.picture import plot_gradient_history
    >>> history = {f"z_grad_{key}": [0.3, 0.2] for key in ("norm", "ratio", "cosine")}
    >>> [axes.get_ylabel() for axes in plot_gradient_history(history).axes][2]
    'cosine with the data gradient'
    """
    terms = [key.removesuffix("_grad_norm") for key in history if key.endswith("_grad_norm")]
    if not terms:
        raise ValueError(
            "There are no gradients to draw: train with a `keras_physreg.GradientMonitor` first. "
            f"Received: history with the keys {list(history)}."
        )
    count = len(history[f"{terms[0]}_grad_norm"])
    times = np.arange(count) if epochs is None else np.asarray(epochs)
    if len(times) != count:
        raise ValueError(
            f"`epochs` must hold one number per measurement. Received: {len(times)} epochs for "
            f"{count} measurements."
        )
    figure, axes = pyplot().subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for ax, (key, label) in zip(axes, LABELS.items(), strict=True):
        values = {term: np.asarray(history[f"{term}_grad_{key}"], float) for term in terms}
        for term, line in values.items():
            # On a log axis there is no place for zeros, such as the ratio at weight 0.
            shown = line if key == "cosine" else np.where(line > 0, line, np.nan)
            ax.plot(times, shown, marker=".", label=term)
        if key != "cosine" and any(np.any(line > 0) for line in values.values()):
            ax.set_yscale("log")
        ax.set(xlabel="epoch", ylabel=label)
        ax.grid(alpha=0.3)
    dashes = axes[1].axhline(1.0, color=DATA_COLOUR, linestyle="--", label="as strong as the data")
    axes[2].axhline(0.0, color=DATA_COLOUR, linewidth=1)
    axes[2].set_ylim(-1.05, 1.05)
    above: Any = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 4, "frameon": False}
    axes[0].legend(**above)
    axes[1].legend(handles=[dashes], **above)
    return figure


def _draw_norms(ax: Axes, diagnosis: DiagnosisData) -> None:
    rows = diagnosis.terms
    names = ["data", *(f"{row.term}\n(weight {row.weight:g})" for row in rows)]
    norms = [diagnosis.data_grad_norm]
    norms += [None if row.grad_norm is None else row.weight * row.grad_norm for row in rows]
    values = [norm if norm and math.isfinite(norm) else math.nan for norm in norms]
    colours = [DATA_COLOUR, *[TERM_COLOUR] * len(rows)]
    positions = np.arange(len(names))
    ax.barh(positions, values, color=colours, height=0.6)
    _log_if_positive(ax.set_xscale, [values])
    if ax.get_xscale() == "log":  # Whole decades: else ticks overlap where norms are alike.
        exponents = np.log10([value for value in values if math.isfinite(value)])
        ax.set_xlim(10 ** (np.floor(exponents.min()) - 0.5), 10 ** np.ceil(exponents.max() + 0.1))
    for position, norm in zip(positions, norms, strict=True):
        if not norm or not math.isfinite(norm):
            said = "no gradient" if norm is None else f"{norm:g}"
            ax.annotate(said, (0.02, position), xycoords=("axes fraction", "data"), va="center")
    ax.set_yticks(positions, names)
    ax.invert_yaxis()
    ax.set_xlabel("norm of the weighted gradient")
    ax.grid(axis="x", alpha=0.3)
    ax.set_axisbelow(True)


def _draw_cosines(ax: Axes, diagnosis: DiagnosisData) -> None:
    positions = np.arange(len(diagnosis.terms))
    cosines = [row.grad_cosine for row in diagnosis.terms]
    values = [math.nan if cosine is None else cosine for cosine in cosines]
    ax.barh(positions, values, color=TERM_COLOUR, height=0.6)
    for position, value in zip(positions, values, strict=True):
        if math.isnan(value):
            ax.annotate(" undefined", (0, position), va="center")
    _term_axis(ax, diagnosis)
    ax.axvline(0.0, color=DATA_COLOUR, linewidth=1)
    ax.set_xlim(-1.05, 1.05)
    ax.set_xlabel("cosine with the data gradient")
    ax.grid(axis="x", alpha=0.3)
    ax.set_axisbelow(True)


def _draw_floors(ax: Axes, diagnosis: DiagnosisData) -> None:
    kinds = [("", "given rows", TERM_COLOUR, -0.1)]
    if diagnosis.val_rows:
        kinds.append(("val_", "held-out rows", HELD_OUT_COLOUR, 0.1))
    for prefix, where, colour, shift in kinds:
        positions = np.arange(len(diagnosis.terms)) + shift
        floors = [_positive(getattr(row, f"{prefix}floor")) for row in diagnosis.terms]
        losses = [_positive(getattr(row, f"{prefix}loss")) for row in diagnosis.terms]
        ax.hlines(positions, floors, losses, color=colour, linewidth=1)
        ax.plot(losses, positions, "o", color=colour, label=f"loss, {where}")
        ax.plot(floors, positions, "|", color=colour, markersize=14, label=f"floor, {where}")
    networks = [_positive(row.val_network) for row in diagnosis.terms]
    if any(map(math.isfinite, networks)):
        positions = np.arange(len(networks)) + 0.1
        ax.plot(networks, positions, "x", color=DATA_COLOUR, label="network, held-out rows")
    _term_axis(ax, diagnosis)
    _log_if_positive(ax.set_xscale, [line.get_xdata() for line in ax.lines])
    ax.set_xlabel("unweighted term loss, and its floor")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    ax.grid(axis="x", alpha=0.3)
    ax.set_axisbelow(True)


def _term_axis(ax: Axes, diagnosis: DiagnosisData) -> None:
    names = [row.term for row in diagnosis.terms]
    ax.set_yticks(np.arange(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)


def _positive(value: float | None) -> float:
    return value if value and math.isfinite(value) else math.nan


def _log_if_positive(set_scale: Any, values: Iterable[Any]) -> None:
    flat = np.concatenate([np.asarray(part, dtype=float).ravel() for part in values])
    flat = flat[np.isfinite(flat)]
    if len(flat) and np.all(flat > 0):
        set_scale("log")
