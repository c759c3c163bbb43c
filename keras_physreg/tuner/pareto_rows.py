"""The data of a Pareto front: completed trials between the data loss and a term's loss."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from keras_physreg._utils.serialization import as_json


@dataclass(frozen=True)
class ParetoRow:
    """A completed trial, measured on validation rows at its best epoch.

    Args:
        trial_id: Id of the trial.
        data_loss: Its unweighted data loss.
        term_loss: Its unweighted loss of the term.
        hyperparameters: The values of its hyperparameters.
        on_front: Whether no other trial is as good in both losses and better in one.
        chosen: Whether it is the tuner's best trial.
    """

    trial_id: str
    data_loss: float
    term_loss: float
    hyperparameters: dict[str, Any]
    on_front: bool
    chosen: bool


@dataclass(frozen=True)
class ParetoRows:
    """The losses of each trial of a search; for the arguments see `ParetoFront`."""

    term: str
    data_loss: str
    rows: tuple[ParetoRow, ...]

    @property
    def term_loss(self) -> str:
        """Name of the log that is the term's loss."""
        return f"val_{self.term}_loss"

    @property
    def front(self) -> list[ParetoRow]:
        """The trials on the front, ordered by data loss, the smallest first."""
        return [row for row in self.rows if row.on_front]

    @property
    def chosen(self) -> ParetoRow:
        """The tuner's best trial."""
        return next(row for row in self.rows if row.chosen)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain Python values, as JSON holds them; NaN becomes `None`."""
        return as_json(asdict(self))
