"""Computes and logs the term losses of one step, and records which are in the total loss.

Each term counts once per call of the model. `compute_loss`, which has the labels, counts all
terms; a user's own code that reads `losses` counts the terms that need no label.
"""

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops

from keras_physreg._utils.names import check_unique
from keras_physreg.layers.evaluation import TermValue
from keras_physreg.layers.physics_regularization import physics_layers
from keras_physreg.layers.step import Step


@dataclass
class Counted:
    """The term losses of one call of a model.

    Args:
        values: The losses of all terms.
        new: Those that were not counted before.
        again: Whether some were counted before.
    """

    values: list[TermValue] = field(default_factory=list)
    new: list[TermValue] = field(default_factory=list)
    again: bool = False


def count_terms(
    step: Step,
    model: keras.Model,
    y: Any = None,
    sample_weight: Any = None,
    label_free: bool = False,
) -> Counted:
    """Computes and logs the term losses of the last call in a step, and records them as counted.

    Args:
        step: The step of a model.
        model: The model of the step, or a part of it, whose terms to count.
        y: The labels.
        sample_weight: Weights of the labelled rows.
        label_free: Whether to leave out the terms that need the label.
    """
    counted = Counted()
    layers = None if model is step.model else physics_layers(model)
    for evaluation in list(step.evaluations):
        layer = evaluation.layer
        if layers is not None and not any(layer is own for own in layers):
            continue
        _check_called_once(step, layer)
        found = layer.compare(evaluation, y, sample_weight, skip_unlabelled=label_free)
        names = [value.name for value in [*counted.values, *found]]
        check_unique("physics terms", names, f"a call of '{step.model.name}'")
        new = [value for value in found if value.name not in evaluation.counted]
        counted.again = counted.again or bool(evaluation.counted)
        if new:
            # Weighted by the rows that Keras' `loss` counts: `loss` is then the sum of its parts.
            layer.track(new, evaluation.labelled_rows)
        step.count(evaluation, [value.name for value in new])
        step.losses |= {value.name: value.loss for value in new}
        counted.values += found
        counted.new += new
    return counted


def is_foreign(model: keras.Model, step: Step) -> bool:
    """Returns whether a model has physics but is not part of the model of the present step."""
    if step.model is model or step.mode != "labelled" or not step.model.built:
        return False
    own, known = physics_layers(model), physics_layers(step.model)
    return bool(own) and not any(layer is other for layer in own for other in known)


def sum_weighted(values: Sequence[TermValue]) -> Any:
    """Returns the sum of the weighted term losses, in float32 or wider."""
    dtype = keras.backend.result_type("float32", keras.config.floatx())
    if not values:
        return ops.zeros((), dtype)
    return functools.reduce(operator.add, [ops.cast(value.weighted, dtype) for value in values])


def check_counted(step: Step, methods: Sequence[str]) -> None:
    """Raises if a training step computed terms that the total loss does not contain.

    Args:
        step: The step, after it has run.
        methods: Qualified names of the user's own methods that make the step.
    """
    missing = [name for name, counted in step.counted.items() if not counted]
    if not missing:
        return
    layers = sorted(
        {
            e.layer.name
            for e in step.evaluations
            if any(name in missing for name in e.layer.term_names)
        }
    )
    which = " and ".join(f"`{method}`" for method in methods) or "The training step"
    in_compute_loss = bool(methods) and methods[-1].endswith(".compute_loss")
    cure = "super().compute_loss(x, y, y_pred, sample_weight, training)"
    raise ValueError(
        f"{which} of model '{step.model.name}' computed the physics of {layers}, but the total "
        f"loss lacks the terms {missing}: they would not train. Use "
        f"`{cure if in_compute_loss else 'self.compute_loss(x, y, y_pred, sample_weight)'}` there, "
        "which returns the data loss and all physics; `self.losses` has only the terms that need "
        "no label."
    )


def _check_called_once(step: Step, layer: keras.layers.Layer) -> None:
    if sum(other.layer is layer for other in step.evaluations) > 1:
        raise ValueError(
            f"Physics layer '{layer.name}' is called more than once in a call of model "
            f"'{step.model.name}', so that its terms have several values (`TimeDistributed` calls "
            "its layer once per step of the sequence). Use one layer per call, with different "
            "names of terms; or call the layer once, on the whole sequence."
        )
