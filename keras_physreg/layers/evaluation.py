"""What a physics layer computed in one call, and what came of each of its terms."""

from dataclasses import dataclass, field, replace
from typing import Any

import keras
from keras import ops


@dataclass(frozen=True)
class Evaluation:
    """Physics outputs of one call of a physics layer, and what they may be compared with.

    Args:
        layer: The physics layer.
        outputs: Its outputs by term name.
        inputs: What the physics took first.
        prediction: What the physics took second.
        targets: The label, where the layer was given it.
        kinds: Which rows have labels; `None`: all.
        counted: Names of the terms that the total has by now.
    """

    layer: Any
    outputs: dict[str, Any]
    inputs: Any
    prediction: Any
    targets: Any = None
    kinds: "RowKinds | None" = None
    counted: set[str] = field(default_factory=set, compare=False)

    @property
    def labelled_rows(self) -> Any:
        """The number of rows that have labels."""
        return row_count(self.prediction) if self.kinds is None else self.kinds.labelled

    def parts(self, name: str, labelled: bool) -> list[tuple[Any, "Evaluation"]]:
        """Returns what a term compares, in parts, each with its factor.

        Args:
            name: Name of the term.
            labelled: Whether the term compares with the label.

        Returns:
            Pairs of a factor, `None` for 1, and an `Evaluation`.
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
        """Returns what references point into; `labels` where the layer got no targets."""
        targets = labels if self.targets is None else self.targets
        return {"prediction": self.prediction, "input": self.inputs, "target": targets}

    def _part(self, name: str, rows: slice) -> "Evaluation":
        """Returns one output and what it may be compared with, for some of the rows."""

        def cut(value: Any) -> Any:
            return value[rows] if len(getattr(value, "shape", ())) else value

        output = self._output_by_row(name)
        parts = (self.inputs, self.prediction, self.targets)
        return Evaluation(
            self.layer,
            {name: output[rows]},
            *(keras.tree.map_structure(cut, part) for part in parts),
        )

    def _output_by_row(self, name: str) -> Any:
        """Returns an output; raises where its first axis is not that of the rows."""
        output, prediction = self.outputs[name], keras.tree.flatten(self.prediction)[0]
        if not len(output.shape):
            raise ValueError(
                f"The physics output of term '{name}' is one number for all rows, so that labelled "
                "and unlabelled rows cannot be told apart. Return one value per row."
            )
        got, rows = output.shape[0], prediction.shape[0]
        if got is None and (rows is None or rows != 1):
            # Compared when the program runs: this fails where the sizes differ.
            return ops.broadcast_to(output, (ops.shape(prediction)[0], *ops.shape(output)[1:]))
        if got != rows:
            raise ValueError(
                f"The physics output of term '{name}' has shape {tuple(output.shape)}, for a "
                f"prediction of shape {tuple(prediction.shape)}: its first axis is not that of the "
                "rows, so that labelled and unlabelled rows cannot be told apart. Return one value "
                "(or vector) per row."
            )
        return output


@dataclass(frozen=True)
class RowKinds:
    """Which rows of a step have labels.

    Args:
        labelled: The number of the first rows, which have labels; the others have none.
        share: What the others count in terms that need no label, the labelled ones counting the
            rest to 1; `None`: every row counts alike.
    """

    labelled: Any
    share: Any = None


@dataclass(frozen=True)
class TermValue:
    """What a term comes to in a batch.

    Args:
        name: Name of the term.
        loss: Its unweighted loss, a scalar tensor.
        weighted: What it adds to the total, a scalar tensor.
        nothing: Whether it had no values at all, a scalar boolean; `None`: it had some.
    """

    name: str
    loss: Any
    weighted: Any
    nothing: Any = None


def row_count(structure: Any) -> Any:
    """Returns the number of rows of a structure: an integer where it is known, else a tensor."""
    first = next(tensor for tensor in keras.tree.flatten(structure) if tensor is not None)
    return ops.shape(first)[0]
