"""The step that runs now: the channel from a physics layer to its model.

A layer never sees the labels; only `PhysicsModel.compute_loss` does. Within a model's step a layer
therefore leaves its physics outputs here, and the model compares them once it has the labels.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from keras_physreg.layers.evaluation import Evaluation, RowKinds

Mode = Literal["labelled", "direct", "skip"]

_local = threading.local()  # MirroredStrategy runs each replica's step in a thread of its own.


@dataclass
class Call:
    """The last call of a model in its step.

    Args:
        kinds: Which rows have labels; `None`: all.
        evaluations: What the physics layers computed in it, and since.
        running: Whether it runs now.
    """

    kinds: RowKinds | None = None
    evaluations: list[Evaluation] = field(default_factory=list)
    running: bool = False


@dataclass
class Step:
    """The physics of one step of one model.

    Args:
        model: The model that runs.
        mode: `"labelled"`: layers leave their outputs for `compute_loss`. `"direct"`: they add
            their losses themselves, as any Keras layer does; terms that need the label are left
            out unless the model trains. `"skip"`: no physics is computed.
        unshielded: Whether the gradient of the unweighted term losses passes, also of those at
            weight 0.
        unlabelled: Inputs of rows without labels, which the model sees beside those it is called
            on.
        unlabelled_share: What they count in terms that need no label; see `RowKinds`.
        call: The last call of the model.
        counted: Whether the total has each term that was computed in the step, by name.
        data_loss: The compiled loss alone, once `compute_loss` knows it.
    """

    model: Any
    mode: Mode
    unshielded: bool = False
    unlabelled: Any = None
    unlabelled_share: Any = None
    call: Call = field(default_factory=Call)
    counted: dict[str, bool] = field(default_factory=dict)
    data_loss: Any = None

    @property
    def evaluations(self) -> list[Evaluation]:
        """What the physics layers computed in the last call of the model."""
        return self.call.evaluations

    def shields_inputs_of(self, layer: Any) -> bool:
        """Returns whether trainable layers of the model compute the `inputs` of a physics layer.

        Shielded inputs are no longer those that the prediction was computed from, so that they
        are shielded where it matters alone.
        """
        return id(layer) in getattr(self.model, "layers_with_shielded_inputs", ())

    @contextlib.contextmanager
    def calling(self, kinds: RowKinds | None = None) -> Iterator[None]:
        """Marks a call of the model: as Keras clears `losses`, the last one counts."""
        self.call = Call(kinds, running=True)
        try:
            yield
        finally:
            self.call.running = False

    def record(self, evaluation: Evaluation, trains: bool) -> None:
        """Adds what a physics layer computed.

        Args:
            evaluation: Outputs of the layer.
            trains: Whether the layer is called as in training.
        """
        known, running = self.evaluations, self.call.running
        if not running:  # A part of the model was called by itself: its last call counts, too.
            known[:] = [other for other in known if other.layer is not evaluation.layer]
        known.append(evaluation)
        if running or trains:
            for name in evaluation.outputs:
                self.counted.setdefault(name, False)

    def count(self, evaluation: Evaluation, names: list[str]) -> None:
        """Notes that the total has terms of an evaluation."""
        evaluation.counted.update(names)
        self.counted |= dict.fromkeys(names, True)


def current_step() -> Step | None:
    """Returns the innermost open step of this thread, or `None`."""
    stack = getattr(_local, "stack", ())
    return stack[-1] if stack else None


@contextlib.contextmanager
def open_step(model: Any, mode: Mode, **more: Any) -> Iterator[Step]:
    """Opens a step of a model for this thread; `more` are further fields of the `Step`."""
    step = Step(model, mode, **more)
    stack = _local.stack = [*getattr(_local, "stack", ()), step]
    try:
        yield step
    finally:
        _local.stack = stack[:-1]
