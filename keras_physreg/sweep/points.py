"""Checks of the points of a sweep, and how many of them its trainings see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras

from keras_physreg._utils.errors import received
from keras_physreg.inspection import find_terms
from keras_physreg.models.auto_scale import check_no_points
from keras_physreg.models.fit_points import check_no_labels, input_specs
from keras_physreg.replicas.replica_points import check_in_memory, steps_without_rows
from keras_physreg.unlabelled import arrays
from keras_physreg.unlabelled.checks import check_no_options
from keras_physreg.unlabelled.point_sources import (
    check_rows_for_all,
    check_terms,
    point_arrays,
    point_sources,
)

DEFAULT_MONITOR = "val_data_loss"


@dataclass(frozen=True)
class PointCounts:
    """How many points trainings see.

    Args:
        per_step: Points in a training step, by term.
        held_out: Points of the validation, by term.
        steps: Steps per epoch; `None` if the labelled rows determine them.
    """

    per_step: dict[str, int] = field(default_factory=dict)
    held_out: dict[str, int] = field(default_factory=dict)
    steps: int | None = None


def check_points(
    model: keras.Model, labelled: dict[str, Any], given: dict[str, Any], monitor: Any
) -> PointCounts:
    """Returns the numbers of points; raises unless they fit the model, the data and the monitor.

    Args:
        model: The model.
        labelled: Arguments about labelled rows, by name; with `x`.
        given: `points`, `points_batch_size`, `validation_points` and `steps_per_epoch`.
        monitor: Key of the log that is the score.
    """
    points, held_out = given["points"], given["validation_points"]
    if points is None:
        check_no_options("points", points_batch_size=given["points_batch_size"])
    if labelled["x"] is None:
        _check_points_alone(model, labelled, points, held_out, monitor)
    steps = steps_without_rows(labelled["x"], given["steps_per_epoch"])
    check_no_points(model, points)
    check_in_memory(points)
    found, like = PointCounts(steps=steps if labelled["x"] is None else None), input_specs(model)
    if points is not None:
        sources = point_sources(model, points, given["points_batch_size"], None, like)
        sizes = {name: arrays.size(tensors) for name, tensors in sources.whole.items()}
        sizes |= {name: arrays.size(source.spec) for name, source in sources.streamed.items()}
        found.per_step.update({name: sizes[name] for name in sources.terms})
    if held_out is not None:
        kept = point_arrays(model, held_out, "validation_points", like)
        found.held_out.update({name: arrays.size(kept.whole[name]) for name in kept.terms})
    for term in found.per_step:
        if monitor == f"val_{term}_loss" and term not in found.held_out:
            raise ValueError(
                f"The log {monitor!r} needs `validation_points` of term '{term}', because it has "
                f"`points` of its own. Received: validation_points={held_out}"
            )
    return found


def _check_points_alone(
    model: keras.Model, labelled: dict[str, Any], points: Any, held_out: Any, monitor: Any
) -> None:
    """Raises unless a sweep without labelled rows can train and be scored."""
    if points is None:
        raise ValueError(
            "`sanity_sweep` needs rows to train on: labelled ones (`x` and `y`), or `points` for "
            "every term. Received: x=None, points=None"
        )
    check_no_labels({name: value for name, value in labelled.items() if name != "x"})
    check_rows_for_all(model, check_terms(model, points, "points"))
    if monitor != DEFAULT_MONITOR:
        raise ValueError(
            "Without labelled rows (x=None) the score is the sum of the losses of all terms at "
            "`validation_points`: leave `monitor` out. The loss of one term is small for solutions "
            f"that violate the others, too. {received('monitor', monitor)}"
        )
    terms = [] if held_out is None else check_terms(model, held_out, "validation_points")
    missing = [name for name in find_terms(model) if name not in terms]
    if missing:
        raise ValueError(
            "Without labelled rows (x=None) the score is the sum of the losses of all terms at "
            f"held-out points: give `validation_points` for every term. Without them: {missing}. "
            f"Received: validation_points for {list(terms)}"
        )
