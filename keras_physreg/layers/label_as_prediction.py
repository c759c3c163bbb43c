"""The label in place of the prediction, for terms with `at="labels"`."""

from typing import Any

import keras
from keras import ops

from keras_physreg.layers.evaluation import Evaluation
from keras_physreg.terms.term import PhysicsTerm


def label_as_prediction(
    evaluation: Evaluation, labelled: Evaluation, labels: Any, outputs: Any, names: str
) -> Any:
    """Returns the label in the structure, shapes and dtypes of the prediction.

    Args:
        evaluation: The result of the call of the physics layer.
        labelled: The same on the labelled rows.
        labels: The labels of the model's outputs, used if the layer was called without `targets`.
        outputs: Outputs of the model for all rows; `None` if they are unknown.
        names: Names of the terms, for messages.

    Raises:
        ValueError: If the label differs from the prediction in structure or shape.
    """
    prediction, targets = labelled.prediction, labelled.targets
    given = labels if targets is None else targets
    wanted = keras.tree.flatten(prediction)
    found = keras.tree.flatten(given)
    if targets is None and outputs is not None:
        found = entries_of(keras.tree.flatten(evaluation.called_with), given, outputs)
    if len(found) == len(wanted):
        fitting = [label_like(label, tensor) for label, tensor in zip(found, wanted, strict=True)]
        if all(label is not None for label in fitting):
            return keras.tree.pack_sequence_as(prediction, fitting)
    raise ValueError(
        f"Terms at the labels ({names}): the physics gets the label in place of the prediction, "
        f"and both must match. The prediction has {_described(prediction)}, the label "
        f"{_described(given)}. Call the physics layer on outputs of the model, each with a label "
        "of its shape; or pass `targets` with the structure and shapes of the prediction."
    )


def weight_of_labels(evaluation: Evaluation, sample_weight: Any, outputs: Any) -> Any:
    """Returns the weights of the rows for terms that get the label in place of the prediction.

    Args:
        evaluation: The result of the call of the physics layer.
        sample_weight: Weights of the rows; or a structure of them, one per output.
        outputs: As in `label_as_prediction`.

    Returns:
        A tensor or `None`. With several labels, the smallest weight of a row counts.
    """
    if not keras.tree.is_nested(sample_weight):
        return sample_weight
    found = keras.tree.flatten(sample_weight)
    if outputs is not None:
        found = entries_of(keras.tree.flatten(evaluation.called_with), sample_weight, outputs)
    weights = [weight for weight in found if weight is not None]
    if not weights:
        return None
    least = weights[0]
    for weight in weights[1:]:
        least = ops.minimum(least, weight)
    return least


def message_without_label(term: PhysicsTerm, layer: str) -> str:
    """Returns the error message for a term whose label is missing.

    Args:
        term: The term.
        layer: Name of its physics layer.
    """
    why = (
        f"compares with the label (reference='{term.reference}')"
        if term.at == "prediction"
        else "is computed at the labels (at='labels')"
    )
    return (
        f"Physics term '{term.name}' of layer '{layer}' {why}, but received no label. Use "
        "`keras_physreg.PhysicsModel` and fit it with labels (`fit(x, y)`); or, in a plain "
        "`keras.Model`, make the label a second `keras.Input` and pass it to the layer as "
        "`targets`."
    )


def entries_of(wanted: list[Any], structure: Any, outputs: Any) -> list[Any]:
    """Returns the entries of a structure, such as the labels, for some outputs of a model.

    Args:
        wanted: The outputs.
        structure: One entry per output of the model, in a structure that Keras accepts for it.
        outputs: All outputs of the model.

    Returns:
        One entry per tensor of `wanted`: `None` if it is no output, or has no entry.
    """
    if isinstance(structure, dict) and isinstance(outputs, dict):
        pairs = [(outputs[key], structure.get(key)) for key in outputs]
    else:
        parts, returned = keras.tree.flatten(structure), keras.tree.flatten(outputs)
        same = len(parts) == len(returned) and not (isinstance(structure, dict) and parts[1:])
        pairs = list(zip(returned, parts, strict=True)) if same else []
    # The layer returns the prediction itself: an output of the model is the same object.
    by_output = {id(tensor): part for tensor, part in pairs}
    return [by_output.get(id(tensor)) for tensor in wanted]


def label_like(label: Any, tensor: Any) -> Any:
    """Returns a label in the shape and dtype of a prediction; `None` if there is none that fits."""
    if label is None:
        return None
    label = ops.convert_to_tensor(label)
    if len(label.shape) == len(tensor.shape) - 1 and tensor.shape[-1] == 1:
        label = ops.expand_dims(label, -1)
    if len(label.shape) == len(tensor.shape) + 1 and label.shape[-1] == 1:
        label = ops.squeeze(label, -1)
    pairs = zip(label.shape[1:], tensor.shape[1:], strict=False)
    if len(label.shape) != len(tensor.shape) or not all(a == b or None in (a, b) for a, b in pairs):
        return None
    return ops.cast(label, tensor.dtype)


def _described(structure: Any) -> str:
    shapes = keras.tree.map_structure(
        lambda t: str(tuple(t.shape)) if hasattr(t, "shape") else repr(t), structure
    )
    is_one = isinstance(shapes, str)
    return f"shape {shapes}" if is_one else f"the structure {shapes}"
