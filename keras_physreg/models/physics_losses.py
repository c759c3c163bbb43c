"""Counts the physics of a step: compares it with the labels, logs it, and notes what the total has.

Each term counts once per call of the model, whoever asks for it: `compute_loss`, which has the
labels, or code of the user's own that reads `losses`, for the terms that need none.
"""

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
    """What the physics of a call comes to.

    Args:
        values: The terms.
        new: Those of them that were not counted before.
        again: Whether others were.
    """

    values: list[TermValue] = field(default_factory=list)
    new: list[TermValue] = field(default_factory=list)
    again: bool = False


def count_terms(
    step: Step, of: keras.Model, y: Any = None, sample_weight: Any = None, label_free: bool = False
) -> Counted:
    """Compares what the last call in a step left, logs it, and notes that the total has it.

    Args:
        step: The step of a model.
        of: The model, or a part of it, whose terms to count.
        y: The labels.
        sample_weight: Weights of the rows that have labels.
        label_free: Whether to leave out the terms that need the label.
    """
    counted = Counted()
    layers = None if of is step.model else physics_layers(of)
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
            # By the rows that Keras' `loss` counts, so that the weighted terms in the logs add up.
            layer.track(new, evaluation.labelled_rows)
        step.count(evaluation, [value.name for value in new])
        counted.values += found
        counted.new += new
    return counted


def is_foreign(model: keras.Model, step: Step) -> bool:
    """Returns whether a model has physics, and is no part of the one whose step runs."""
    if step.model is model or step.mode != "labelled" or not step.model.built:
        return False
    own, known = physics_layers(model), physics_layers(step.model)
    return bool(own) and not any(layer is other for layer in own for other in known)


def sum_weighted(values: Sequence[TermValue]) -> Any:
    """Returns what terms add to the total, of float32 at least."""
    dtype = keras.backend.result_type("float32", keras.config.floatx())
    weighted = [ops.cast(value.weighted, dtype) for value in values]
    return ops.sum([ops.zeros((), dtype), *weighted])


def check_counted(step: Step, methods: Sequence[str]) -> None:
    """Raises where a training step computed terms that the total does not have.

    Args:
        step: The step, once it has run.
        methods: Which methods of the user's own make it, by their qualified names.
    """
    missing = [name for name, counted in step.counted.items() if not counted]
    if not missing:
        return
    layers = sorted(
        {e.layer.name for e in step.evaluations if any(name in missing for name in e.outputs)}
    )
    which = " and ".join(f"`{method}`" for method in methods) or "The training step"
    in_compute_loss = bool(methods) and methods[-1].endswith(".compute_loss")
    cure = "super().compute_loss(x, y, y_pred, sample_weight, training)"
    raise ValueError(
        f"{which} of model '{step.model.name}' computed the physics of {layers}, but the total "
        f"lacks the terms {missing}: they would train nothing. Add "
        f"`{cure if in_compute_loss else 'self.compute_loss(x, y, y_pred, sample_weight)'}` there, "
        "which is the data loss and all physics: `self.losses` has the terms that need no label "
        "only."
    )


def _check_called_once(step: Step, layer: keras.layers.Layer) -> None:
    if sum(other.layer is layer for other in step.evaluations) > 1:
        raise ValueError(
            f"Physics layer '{layer.name}' is called more than once in a call of model "
            f"'{step.model.name}' (`TimeDistributed` calls what it holds once per step of the "
            "sequence), so that its terms have several values. Give each call a layer of its own, "
            "with terms of other names; or call it once, on the whole sequence."
        )
