"""What the physics layers computed in the step that runs now: the channel from layer to model.

A layer never sees the labels; only `PhysicsModel.compute_loss` does. Within a model's step a layer
therefore leaves its physics outputs here, and the model compares them once it has the labels.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
from keras import ops

_local = threading.local()  # MirroredStrategy runs each replica's step in a thread of its own.


@dataclass(frozen=True)
class Evaluation:
    """Physics outputs of one call of a physics layer, and what they may be compared with."""

    layer: Any
    outputs: dict[str, Any]
    inputs: Any
    prediction: Any
    targets: Any = None

    def part(self, name: str, rows: slice) -> "Evaluation":
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
                "and unlabelled rows cannot be told apart. Return one value a row."
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
                "(or vector) a row."
            )
        return output

    def roots(self, labels: Any = None) -> dict[str, Any]:
        """Returns what references point into; `labels` where the layer got no targets."""
        targets = labels if self.targets is None else self.targets
        return {"prediction": self.prediction, "input": self.inputs, "target": targets}


@dataclass(frozen=True)
class TermValue:
    """A term's unweighted loss and its contribution to the total, as scalar tensors."""

    name: str
    loss: Any
    weighted: Any


@dataclass(frozen=True)
class RowKinds:
    """Which rows of a step have labels.

    Args:
        labelled: The number of the first rows, which have labels; the others have none.
        share: What the others count in terms that need no label, the labelled ones counting the
            rest to 1; `None`: every row counts alike.
    """

    labelled: Any
    share: float | None = None

    def parts(self, evaluation: Evaluation, name: str, labelled: bool) -> list[tuple]:
        """Returns what of an evaluation a term compares, each part with its factor.

        Args:
            evaluation: Of all rows.
            name: Name of the term.
            labelled: Whether the term compares with the label.
        """
        first, others = slice(None, self.labelled), slice(self.labelled, None)
        if labelled:
            return [(None, evaluation.part(name, first))]
        if self.share is None:
            return [(None, evaluation)]
        factors = ((1.0 - self.share, first), (self.share, others))
        return [(factor, evaluation.part(name, rows)) for factor, rows in factors if factor]


@dataclass
class Step:
    """The physics of one step of one model.

    Args:
        model: The model that runs.
        mode: `"labelled"`: layers leave their outputs for `compute_loss`. `"direct"`: they add
            their losses themselves, as any Keras layer does; terms that need the label are left
            out unless the model trains. `"skip"`: no physics is computed.
        unlabelled: Inputs of rows without labels, which the model sees beside those it is called
            on.
        unlabelled_share: What they count in terms that need no label; see `RowKinds`.
    """

    model: Any
    mode: Literal["labelled", "direct", "skip"]
    unlabelled: Any = None
    unlabelled_share: float | None = None
    evaluations: list[Evaluation] = field(default_factory=list)
    kinds: RowKinds | None = None
    data_loss: Any = None
    hides_losses: bool = False


def current_step() -> Step | None:
    """Returns the innermost open step of this thread, or `None`."""
    stack = getattr(_local, "stack", ())
    return stack[-1] if stack else None


@contextlib.contextmanager
def open_step(
    model: Any, mode: Literal["labelled", "direct", "skip"], **rows: Any
) -> Iterator[Step]:
    """Opens a step of a model for this thread; `rows` are the unlabelled ones, as in `Step`."""
    step = Step(model, mode, **rows)
    stack = _local.stack = [*getattr(_local, "stack", ()), step]
    try:
        yield step
    finally:
        _local.stack = stack[:-1]
