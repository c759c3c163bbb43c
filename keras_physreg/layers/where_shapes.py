"""Names the term whose `where` does not fit its rows, after a step has failed."""

from typing import Any

import keras

from keras_physreg.layers.build_physics import is_built
from keras_physreg.layers.selected_rows import select_rows
from keras_physreg.layers.step import open_step
from keras_physreg.terms.row_weights import WhereShapeError


def check_where_shapes(model: keras.Model, x: Any, skipped: frozenset[str] = frozenset()) -> None:
    """Raises if the `where` of a term, or of `on_rows`, does not have one value per row.

    In a compiled step the number of rows is not known, and the error of TensorFlow names no term.
    Other errors are left to the step, and so is a model that is not built: its variables must not
    be created in the scope of this check.

    Args:
        model: The model.
        x: Inputs of some rows.
        skipped: Terms that are not computed on these rows.
    """
    if not is_built(model):
        return
    scope = keras.StatelessScope(collect_losses=True, initialize_variables=False)
    with scope:
        try:
            with open_step(model, "arguments", skipped=skipped) as step:
                model(x, training=False)
        except Exception:
            return
        for evaluation in step.evaluations:
            for term in evaluation.layer.terms:
                if term.where is not None and term.name not in skipped:
                    select_rows(term.where, evaluation.inputs, term.name)
            try:
                evaluation.layer.evaluate_physics(evaluation.inputs, evaluation.prediction)
            except WhereShapeError:
                raise
            except Exception:
                continue
