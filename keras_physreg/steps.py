"""What the physics layers computed in the step that runs now: the channel from layer to model.

A layer never sees the labels; only `PhysicsModel.compute_loss` does. Within a model's step a layer
therefore leaves its physics outputs here, and the model compares them once it has the labels.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

_local = threading.local()  # MirroredStrategy runs each replica's step in a thread of its own.


@dataclass(frozen=True)
class Evaluation:
    """Physics outputs of one call of a physics layer, and what they may be compared with."""

    layer: Any
    outputs: dict[str, Any]
    inputs: Any
    prediction: Any
    targets: Any = None

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


@dataclass
class Step:
    """The physics of one step of one model.

    Args:
        model: The model that runs.
        mode: `"labelled"`: layers leave their outputs for `compute_loss`. `"direct"`: they add
            their losses themselves, as any Keras layer does; terms that need the label are left
            out unless the model trains. `"skip"`: no physics is computed.
    """

    model: Any
    mode: Literal["labelled", "direct", "skip"]
    evaluations: list[Evaluation] = field(default_factory=list)
    data_loss: Any = None
    hides_losses: bool = False


def current_step() -> Step | None:
    """Returns the innermost open step of this thread, or `None`."""
    stack = getattr(_local, "stack", ())
    return stack[-1] if stack else None


@contextlib.contextmanager
def open_step(model: Any, mode: Literal["labelled", "direct", "skip"]) -> Iterator[Step]:
    """Opens a step of a model for this thread."""
    step = Step(model, mode)
    stack = _local.stack = [*getattr(_local, "stack", ()), step]
    try:
        yield step
    finally:
        _local.stack = stack[:-1]
