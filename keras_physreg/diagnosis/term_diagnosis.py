"""TermDiagnosis: the numbers of one term."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from keras_physreg.diagnosis.connections import Connection
from keras_physreg.diagnosis.few_rows import FewRows
from keras_physreg.diagnosis.relations import Relation
from keras_physreg.diagnosis.summaries import Summary, pooled_summary
from keras_physreg.diagnosis.teacher import Teacher


@dataclass(frozen=True)
class TermDiagnosis:
    """The numbers of one term; `None` where there is none.

    Args:
        term: Name of the term.
        weight: Its weight.
        grad_norm: Norm of the gradient of its unweighted loss.
        grad_ratio: Weight times that norm, over the norm of the data gradient.
        grad_cosine: Cosine of the angle between its gradient and that of the data loss.
        reached: Number of trainable variables that its gradient reaches.
        trainable: Number of trainable variables.
        connection: Where its gradient arrives.
        here: The term on the given rows.
        labels: The term on the given rows, with the labels in place of the prediction.
        val_here: The term on the held-out rows.
        val_labels: The term on the held-out rows, with the labels in place of the prediction.
        note: Why there is no loss or no floor, in words.
        teacher: Physics against the network on the held-out rows, where they can be compared.
        few_rows: Rows that carry nearly all of its loss, where there are some.
        relations: How what it says goes along with what it is compared with, per component.
        one_sided: Components of a residual that can have one sign only, as a norm has.
        reference: What it is compared with, as in `PhysicsTerm`.
        unlabelled_here: The term on the rows without labels.
        nowhere: Number of rows looked at, if the term counts in none of them; else 0.
        active_sharers: Terms of a weight above 0 that the same call of the physics computes.
    """

    term: str
    weight: float
    grad_norm: float | None
    grad_ratio: float | None
    grad_cosine: float | None
    reached: int
    trainable: int
    connection: Connection
    here: Summary | None
    labels: Summary | None
    val_here: Summary | None
    val_labels: Summary | None
    note: str | None
    teacher: Teacher | None = None
    few_rows: FewRows | None = None
    relations: tuple[Relation, ...] = ()
    one_sided: frozenset[int] = frozenset()
    reference: str | None = None
    unlabelled_here: Summary | None = None
    nowhere: int = 0
    active_sharers: tuple[str, ...] = ()

    @property
    def loss(self) -> float | None:
        """The unweighted loss."""
        return _loss(self.here)

    @property
    def weighted_loss(self) -> float | None:
        """Weight times loss: what the term adds to the total; 0 at weight 0."""
        if self.loss is None:
            return None
        return self.weight * self.loss if self.weight else 0.0

    @property
    def floor(self) -> float | None:
        """The loss at the labels."""
        return _loss(self.labels)

    @property
    def val_loss(self) -> float | None:
        """The unweighted loss on the held-out rows."""
        return _loss(self.val_here)

    @property
    def val_floor(self) -> float | None:
        """The loss at the labels of the held-out rows."""
        return _loss(self.val_labels)

    @property
    def unlabelled_loss(self) -> float | None:
        """The unweighted loss on the rows without labels."""
        return _loss(self.unlabelled_here)

    @property
    def val_network(self) -> float | None:
        """The loss of the network's held-out predictions in place of the term's output."""
        return None if self.teacher is None else self.teacher.network

    @property
    def pooled_labels(self) -> Summary | None:
        """The term at all labels, given and held-out ones."""
        return pooled_summary(self.labels, self.val_labels)

    @property
    def biases(self) -> tuple[float, ...]:
        """Mean residual at the given labels over its standard deviation, per component."""
        return () if self.labels is None else tuple(map(_ratio, self.labels.mean, self.labels.sd))

    @property
    def bias(self) -> float | list[float] | None:
        """As `biases`: a number where the output has one component, a list where it has more."""
        if not self.biases:
            return None
        return self.biases[0] if len(self.biases) == 1 else list(self.biases)

    @property
    def finite(self) -> bool:
        """Whether its losses, floors and gradient are finite, as far as there are any."""
        losses = (self.loss, self.val_loss, self.unlabelled_loss)
        values = (*losses, self.floor, self.val_floor, self.grad_norm)
        return all(math.isfinite(value) for value in values if value is not None)

    def to_dict(self) -> dict[str, Any]:
        """Returns the numbers as plain Python types."""
        names = "term loss weight floor val_loss val_floor val_network unlabelled_loss bias "
        names += "grad_norm grad_ratio grad_cosine"
        return {n: getattr(self, n) for n in [*names.split(), "reached", "trainable", "finite"]}


def _loss(summary: Summary | None) -> float | None:
    return None if summary is None else summary.loss


def _ratio(mean: float, sd: float) -> float:
    if sd == 0:
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / sd
