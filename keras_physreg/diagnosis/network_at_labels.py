"""What the network says of the labels, and what the physics says at both, row by row."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_physreg.layers.evaluation import Evaluation
from keras_physreg.layers.row_weights import row_weights
from keras_physreg.terms.loss import row_losses, term_reference
from keras_physreg.terms.references import root


def network_losses(
    evaluation: Evaluation, there: Evaluation, name: str, y: Any, y_pred: Any
) -> Any:
    """Returns the loss of the network's predictions as the term would judge them, per row.

    They stand in for the term's output: under the same loss and components, against the label.

    Args:
        evaluation: The physics at the prediction.
        there: The physics at the labels.
        name: Name of the term.
        y: Labels, or `None`.
        y_pred: Outputs of the model.

    Returns:
        A tensor of shape `(rows,)`, or `None` where the term compares with something else.
    """
    term = next(term for term in evaluation.layer.terms if term.name == name)
    if root(term.reference) not in ("target", "prediction"):
        return None
    model_output = y_pred if evaluation.targets is None else evaluation.prediction
    predicted = {"target": model_output, "prediction": evaluation.prediction}
    try:
        network = term_reference(term, there.outputs[name], predicted)
        label = term_reference(term, there.outputs[name], there.roots(y))
        return row_losses(term, network, label, row_weights(term, there))
    except Exception:  # Labels of another structure than the outputs.
        return None


def moved_by_labels(here: Any, there: Any) -> Any:
    """Returns how far the output of a term is from that at the labels, per row, or `None`."""
    if here is None or there is None or not len(here.shape):
        return None
    shapes = zip(here.shape, there.shape, strict=False)
    if len(here.shape) != len(there.shape) or any(a != b for a, b in shapes if a and b):
        return None
    rows = ops.shape(here)[0]

    def by_row() -> Any:
        return ops.max(ops.reshape(ops.abs(here - there), (rows, -1)), axis=1, initial=0.0)

    # Physics may select other rows at the labels.
    same = ops.equal(rows, ops.shape(there)[0])
    return ops.cond(same, by_row, lambda: ops.zeros((0,), dtype=here.dtype))
