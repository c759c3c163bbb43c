"""Who knows the labels of unseen rows better: the physics of a term, or the network?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_physreg.diagnosis.intervals import mean_interval
from keras_physreg.diagnosis.row_values import RowValues

MIN_ROWS = 5
ROUNDING = 1e-5


@dataclass(frozen=True)
class Teacher:
    """What the physics and the network miss the held-out labels by, in the loss of one term.

    Args:
        floor: Mean loss of the physics: the term's floor on these rows.
        network: Mean loss of the network's predictions under the same loss and components.
        low: Lower end of the interval of `floor - network`, row by row.
        high: Its upper end.
        rows: Number of rows.
        independent: Whether the physics says the same at the prediction as at the label: its
            estimate is of the inputs alone, so that no errors of the network cancel in it.
    """

    floor: float
    network: float
    low: float
    high: float
    rows: int
    independent: bool = True

    @property
    def verdict(self) -> str | None:
        """`"better"` or `"worse"` than the network; `None` where the rows are too few to tell."""
        if self.rows < MIN_ROWS:
            return None
        return "better" if self.high < 0 else "worse" if self.low > 0 else None


def compare_with_network(held_out: RowValues | None, confidence: float) -> Teacher | None:
    """Compares physics and network on held-out rows, each row with itself.

    A network fits the rows that it was trained on better than others, so that only held-out rows
    can decide. The interval is that of Student's t for the mean difference.

    Args:
        held_out: The term on the held-out rows, at the labels.
        confidence: Probability that the interval holds the mean difference.

    Returns:
        The comparison, or `None` where there is none: no held-out rows, or a term that compares
        with neither label nor prediction.
    """
    if held_out is None or held_out.network is None or len(held_out.losses) < 2:
        return None
    floor, network = (values.astype("float64") for values in (held_out.losses, held_out.network))
    if not np.isfinite([floor, network]).all():
        return None
    low, high = mean_interval(floor - network, confidence)
    moved, output = held_out.moved, held_out.output
    size = 1.0 if output is None else float(np.abs(output).max(initial=0.0))
    independent = moved is None or bool((moved <= ROUNDING * size).all())
    return Teacher(float(floor.mean()), float(network.mean()), low, high, len(floor), independent)
