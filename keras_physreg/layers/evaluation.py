"""Results of one call of a physics layer: its outputs, and the loss of each term."""

from dataclasses import dataclass, field, replace
from typing import Any

import keras
from keras import ops


@dataclass(frozen=True)
class Evaluation:
    """Physics outputs of one call of a physics layer, and what they may be compared with.

    Args:
        layer: The physics layer.
        outputs: Physics outputs by term name.
        inputs: First argument of the physics.
        prediction: Second argument of the physics.
        targets: The label, if the layer was called with it.
        kinds: Which rows have labels; `None`: all of them.
        where: Weights of the values of an output, by term, for terms that do not count all.
        mask: Keras masks of the prediction, in its structure; `None`: it has none.
        training: Whether the layer was called in training mode.
        called_with: The prediction of the layer's call, even if the physics is called again with
            another one.
        constants: Trainable variables of the physics as they were read, by identity.
        at_points: The evaluation of each term that has points, on its points, by the term's name.
        skipped: Names of terms that are not computed.
        counted: Names of the terms that are already in the total loss.
    """

    layer: Any
    outputs: dict[str, Any]
    inputs: Any
    prediction: Any
    targets: Any = None
    kinds: "RowKinds | None" = None
    where: dict[str, list[Any]] = field(default_factory=dict)
    mask: Any = None
    training: bool = False
    called_with: Any = None
    constants: dict[int, Any] = field(default_factory=dict, compare=False)
    at_points: dict[str, "Evaluation"] = field(default_factory=dict)
    skipped: frozenset[str] = frozenset()
    counted: set[str] = field(default_factory=set, compare=False)

    @property
    def computed(self) -> list[str]:
        """Names of the terms that are computed."""
        return [name for name in self.layer.term_names if name not in self.skipped]

    @property
    def labelled_rows(self) -> Any:
        """Number of rows that have labels; of all rows if all belong to point sets."""
        return row_count(self.prediction) if self.kinds is None else self.kinds.labelled

    def parts(self, name: str, labelled: bool) -> list[tuple[Any, "Evaluation"]]:
        """Returns the groups of rows over which a term averages, each with its factor.

        Args:
            name: Name of the term.
            labelled: Whether the term compares with the label.

        Returns:
            Pairs of a factor, `None` for 1, and an `Evaluation`: the term's loss is the sum of
            factor times mean loss.
        """
        if self.kinds is None:
            return [(None, self)]
        first, others = slice(None, self.kinds.labelled), slice(self.kinds.labelled, None)
        if labelled:
            return [(None, self._part(name, first))]
        share = self.kinds.share
        if share is None:
            if not len(self.outputs[name].shape):
                return [(None, self)]  # One number for all rows.
            outputs = {**self.outputs, name: self._output_by_row(name)}
            return [(None, replace(self, outputs=outputs))]
        return [(1.0 - share, self._part(name, first)), (share, self._part(name, others))]

    def roots(self, labels: Any = None) -> dict[str, Any]:
        """Returns the structures that references point into.

        Args:
            labels: The label, used if the layer was called without `targets`.
        """
        targets = labels if self.targets is None else self.targets
        return {"prediction": self.prediction, "input": self.inputs, "target": targets}

    def labelled_part(self) -> "Evaluation":
        """Returns the arguments of the physics on the labelled rows, without its outputs."""
        everything = replace(self, outputs={}, where={}, kinds=None, at_points={})
        return everything if self.kinds is None else everything._cut(slice(self.kinds.labelled))

    def with_outputs(self, outputs: Any, inputs: Any, prediction: Any) -> "Evaluation":
        """Returns the evaluation with other outputs, computed from other arguments."""
        return replace(
            self,
            outputs=outputs.values,
            where=outputs.where,
            inputs=inputs,
            prediction=prediction,
        )

    def _part(self, name: str, rows: slice) -> "Evaluation":
        """Returns one output and its possible references for some of the rows."""
        where = {name: self.where[name]} if name in self.where else {}
        return replace(self, outputs={name: self._output_by_row(name)}, where=where)._cut(rows)

    def _cut(self, rows: slice) -> "Evaluation":
        def cut(value: Any) -> Any:
            return value[rows] if len(getattr(value, "shape", ())) else value

        names = ("outputs", "inputs", "prediction", "targets", "where", "mask")
        parts = {name: keras.tree.map_structure(cut, getattr(self, name)) for name in names}
        return Evaluation(layer=self.layer, training=self.training, **parts)

    def _output_by_row(self, name: str) -> Any:
        """Returns an output; raises unless its first axis is the batch."""
        output, prediction = self.outputs[name], keras.tree.flatten(self.prediction)[0]
        if not len(output.shape):
            raise ValueError(
                f"The physics output of term '{name}' is one number for all rows, which cannot be "
                "split into labelled and unlabelled rows. Return one value per row."
            )
        got, rows = output.shape[0], prediction.shape[0]
        if got is None and (rows is None or rows != 1):
            # Unknown sizes are compared when the program runs: this fails if they differ.
            return ops.broadcast_to(output, (ops.shape(prediction)[0], *ops.shape(output)[1:]))
        if got != rows:
            raise ValueError(
                f"The physics output of term '{name}' has shape {tuple(output.shape)} for a "
                f"prediction of shape {tuple(prediction.shape)}: its first axis is not the batch, "
                "so it cannot be split into labelled and unlabelled rows. Return one value (or "
                "vector) per row."
            )
        return output


@dataclass(frozen=True)
class RowKinds:
    """The labelled and unlabelled rows of a step.

    Args:
        labelled: Number of labelled rows, which come first.
        share: Factor of the mean over unlabelled rows in terms that need no label; the mean over
            labelled rows has the factor `1 - share`. `None`: such terms are means over all rows.
    """

    labelled: Any
    share: Any = None


@dataclass(frozen=True)
class TermValue:
    """The loss of a term on one batch.

    Args:
        name: Name of the term.
        loss: Unweighted loss, a scalar tensor.
        weighted: Weighted loss, which the total loss contains, a scalar tensor.
        is_empty: Scalar boolean tensor: whether the term had no values to average. `None`: it
            always has some.
        is_nowhere: Scalar boolean tensor: whether none of its values counts, so that the loss is
            0. `None`: all of them count.
    """

    name: str
    loss: Any
    weighted: Any
    is_empty: Any = None
    is_nowhere: Any = None


def row_count(structure: Any) -> Any:
    """Returns the number of rows of a structure: an integer if it is known, else a tensor."""
    first = next(tensor for tensor in keras.tree.flatten(structure) if tensor is not None)
    return ops.shape(first)[0]
