"""Chain: several schedules, one after another."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from keras.saving import (
    deserialize_keras_object,
    register_keras_serializable,
    serialize_keras_object,
)

from keras_physreg._utils.errors import received, sequence
from keras_physreg.schedules import checks
from keras_physreg.schedules.schedule import Schedule, namespace, shift


@register_keras_serializable(package="keras_physreg")
@dataclass(frozen=True)
class Chain(Schedule):
    """Several schedules, one after another, each with its own time from 0.

    Before `boundaries[0]` the weight is `schedules[0](time)`; from `boundaries[i]` on it is
    `schedules[i + 1](time - boundaries[i])`.

    Args:
        schedules: List of schedules of this package.
        boundaries: List of times in epochs or steps, above 0 and increasing, one fewer than the
            schedules.

    Raises:
        TypeError: If an element of `schedules` is not a schedule of this package.
        ValueError: If the boundaries do not increase, or are not one fewer than the schedules.

    Example:
    Raise the weight within 40 epochs, and lower it slowly from epoch 60 on:

    >>> from keras_physreg.schedules import CosineRamp, GeometricRamp
    >>> chain = Chain([GeometricRamp(1e-4, 1.0, 40), CosineRamp(1.0, 0.5, 20)], boundaries=[60])
    >>> [float(f"{chain(epoch):.3g}") for epoch in (0, 20, 40, 60, 70, 80)]
    [0.0001, 0.01, 1.0, 1.0, 0.75, 0.5]
    """

    schedules: Sequence[Schedule]
    boundaries: Sequence[float]

    def __post_init__(self) -> None:
        schedules = sequence("Chain", "schedules", self.schedules)
        for i, schedule in enumerate(schedules):
            if not isinstance(schedule, Schedule):
                raise TypeError(
                    "Chain: `schedules` must hold schedules of keras_physreg; use a Staircase for "
                    f"fixed weights. {received(f'schedules[{i}]', schedule)}"
                )
        self._set(schedules=tuple(schedules), boundaries=self._checked_boundaries())

    def _checked_boundaries(self) -> tuple[int | float, ...]:
        times = sequence("Chain", "boundaries", self.boundaries, may_be_empty=True)
        moments = [checks.moment("Chain", f"boundaries[{i}]", t) for i, t in enumerate(times)]
        needed = len(self.schedules) - 1
        if len(moments) != needed:
            raise ValueError(
                f"Chain: `boundaries` must have one element fewer than `schedules`, here {needed}. "
                + received("boundaries", self.boundaries)
            )
        if any(later <= sooner for sooner, later in pairwise([0, *moments])):
            raise ValueError(
                "Chain: `boundaries` must be above 0 and increase. "
                + received("boundaries", self.boundaries)
            )
        return tuple(moments)

    def at(self, time: Any) -> Any:
        """See `Schedule.at`."""
        xp = namespace(time)
        weight = self.schedules[0](time)
        for boundary, schedule in zip(self.boundaries, self.schedules[1:], strict=True):
            passed = shift(time, boundary)
            weight = xp.where(passed >= 0, schedule(passed), weight)
        return weight

    def get_config(self) -> dict[str, Any]:
        """See `Schedule.get_config`."""
        schedules = [serialize_keras_object(schedule) for schedule in self.schedules]
        return {"schedules": schedules, "boundaries": list(self.boundaries)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Chain":
        """See `Schedule.from_config`."""
        schedules = [deserialize_keras_object(schedule) for schedule in config["schedules"]]
        return cls(schedules, config["boundaries"])
