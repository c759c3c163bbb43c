"""The points of a first step: what a model is called on before its training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from keras_physreg.layers.step import open_step
from keras_physreg.models.fit_points import input_specs
from keras_physreg.models.physics_model import PhysicsModel
from keras_physreg.replicas.replica_points import check_in_memory
from keras_physreg.unlabelled.joined_rows import join_points
from keras_physreg.unlabelled.point_sources import check_rows_for_all, point_sources


@dataclass(frozen=True)
class FirstPoints:
    """Point sets as the user gave them, for calls of a model on one step.

    The function of each term sees its own points alone: those of another term may be outside of
    its domain, or of another number of rows.

    Args:
        points: Points by term, or `None`.
        batch_size: `points_batch_size` of `fit`.
        has_rows: Whether there are labelled rows, too.
    """

    points: Any = None
    batch_size: Any = None
    has_rows: bool = True

    def of_step(self, model: keras.Model, x: Any) -> tuple[Any, dict[str, Any]]:
        """Returns the inputs of a first step, and the fields of its `Step`.

        Args:
            model: The model, which is built without its physics if it is not built.
            x: Inputs of labelled rows; any points, if there are no labelled rows.
        """
        if self.points is None:
            return x, {}
        if not isinstance(model, PhysicsModel):
            raise TypeError(
                "`points` needs a `keras_physreg.PhysicsModel`. Received: a model of type "
                f"{type(model)}"
            )
        check_in_memory(self.points)
        if not model.built:
            with open_step(model, "skip"):
                model(x)
        sources = point_sources(model, self.points, self.batch_size, None, input_specs(model))
        points = {
            term: sources.whole[term] if term in sources.whole else sources.streamed[term].at(0)
            for term in sources.terms
        }
        if self.has_rows:
            return x, {"points": points}
        check_rows_for_all(model, sources.terms)
        joined, rows = join_points(points)
        return joined, {"points": points, "joined": rows}
