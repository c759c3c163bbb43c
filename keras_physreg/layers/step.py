"""The present step of a model, in which physics layers leave their outputs for the model.

A layer never gets the labels; `PhysicsModel.compute_loss` does. Within a step a physics layer
therefore records its outputs here, and the model compares them once it has the labels.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from keras_physreg.layers.evaluation import Evaluation, RowKinds
from keras_physreg.layers.point_rows import PointRows

Mode = Literal["labelled", "direct", "arguments", "skip"]

_local = threading.local()  # MirroredStrategy runs the step of each replica in its own thread.


@dataclass
class Call:
    """The last call of a model in its step.

    Args:
        kinds: Which rows of no point set have labels; `None`: all of them.
        points: Which rows belong to point sets; `None`: none of them.
        evaluations: Results of the physics layers in this call and after it.
        outputs: Outputs of the model for all rows; `None` before it has returned.
        in_progress: Whether the call has not returned yet.
    """

    kinds: RowKinds | None = None
    points: PointRows | None = None
    evaluations: list[Evaluation] = field(default_factory=list)
    outputs: Any = None
    in_progress: bool = False


@dataclass
class Step:
    """The physics of one step of one model.

    Args:
        model: The model that runs.
        mode: `"labelled"`: layers record their outputs for `compute_loss`. `"direct"`: they add
            their losses themselves, as any Keras layer does; terms that need the label are left
            out unless the model trains. `"arguments"`: they record their arguments, and no physics
            is computed. `"skip"`: no physics is computed.
        unshielded: Whether gradients of the unweighted term losses pass at weight 0, too.
        unlabelled: Inputs of unlabelled rows, which join the rows that the model is called on.
        unlabelled_share: Their factor in terms that need no label; see `RowKinds`.
        points: Inputs of point sets, by term, which join these rows.
        skipped: Terms that are not computed.
        joined: The rows of the step if all of them belong to point sets: the model is called on
            rows that are joined already.
        call: The last call of the model.
        counted: Whether the total loss contains a term, for each term computed in the step.
        losses: The unweighted loss of each term that the total loss contains.
        data_loss: The compiled loss alone, once `compute_loss` has computed it.
    """

    model: Any
    mode: Mode
    unshielded: bool = False
    unlabelled: Any = None
    unlabelled_share: Any = None
    points: Mapping[str, Any] = field(default_factory=dict)
    skipped: frozenset[str] = frozenset()
    joined: PointRows | None = None
    call: Call = field(default_factory=Call)
    counted: dict[str, bool] = field(default_factory=dict)
    losses: dict[str, Any] = field(default_factory=dict)
    data_loss: Any = None

    @property
    def evaluations(self) -> list[Evaluation]:
        """Results of the physics layers in the last call of the model."""
        return self.call.evaluations

    def shields_inputs_of(self, layer: Any) -> bool:
        """Returns whether the `inputs` of a physics layer must be shielded.

        They must if trainable layers of the model compute them. Otherwise they stay the tensors
        that the prediction was computed from, by which the physics may differentiate it.
        """
        return id(layer) in getattr(self.model, "layers_with_shielded_inputs", ())

    @contextlib.contextmanager
    def calling(
        self, kinds: RowKinds | None = None, points: PointRows | None = None
    ) -> Iterator[None]:
        """Marks a call of the model; only the last call counts, as for `losses` in Keras."""
        self.call = Call(kinds, points, in_progress=True)
        try:
            yield
        finally:
            self.call.in_progress = False

    def record(self, evaluation: Evaluation, trains: bool) -> None:
        """Adds the outputs of a physics layer.

        Args:
            evaluation: Outputs of the layer.
            trains: Whether the layer is called in training mode.
        """
        known, in_progress = self.evaluations, self.call.in_progress
        if not in_progress:  # A part of the model was called alone: its last call counts.
            known[:] = [other for other in known if other.layer is not evaluation.layer]
        known.append(evaluation)
        if in_progress or trains:
            for name in evaluation.computed:
                self.counted.setdefault(name, False)

    def count(self, evaluation: Evaluation, names: list[str]) -> None:
        """Records that the total loss contains some terms of an evaluation."""
        evaluation.counted.update(names)
        self.counted |= dict.fromkeys(names, True)


def current_step() -> Step | None:
    """Returns the innermost open step of this thread, or `None`."""
    stack = getattr(_local, "stack", ())
    return stack[-1] if stack else None


@contextlib.contextmanager
def open_step(model: Any, mode: Mode, **more: Any) -> Iterator[Step]:
    """Opens a step of a model in this thread; `more` are further fields of the `Step`."""
    step = Step(model, mode, **more)
    stack = _local.stack = [*getattr(_local, "stack", ()), step]
    try:
        yield step
    finally:
        _local.stack = stack[:-1]
