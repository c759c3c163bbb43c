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
        kinds: Which rows have labels in the last call of the model.
        evaluations: What the physics layers computed in the last call of the model.
        data_loss: The compiled loss alone, once `compute_loss` knows it.
    """

    model: Any
    mode: Mode
    unshielded: bool = False
    unlabelled: Any = None
    unlabelled_share: Any = None
    kinds: RowKinds | None = None
    evaluations: list[Evaluation] = field(default_factory=list)
    data_loss: Any = None


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
