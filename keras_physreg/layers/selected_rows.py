"""Replaces rows that do not count by a copy of a row that counts, before the physics gets them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_physreg._utils.select import select
from keras_physreg._utils.user_errors import explained
from keras_physreg.layers.call_physics import at_full_precision
from keras_physreg.layers.evaluation import row_count
from keras_physreg.terms.row_weights import WhereShapeError, as_weights, holding


@dataclass(frozen=True)
class SelectedRows:
    """The rows that count; copies of one of them replace the others.

    Args:
        weights: Weights of shape `(batch,)`, or with further axes such as time.
        hold: Boolean tensor of shape `(batch,)`: whether a row counts.
    """

    weights: Any
    hold: Any

    def replace(self, structure: Any) -> Any:
        """Returns tensors in which rows that do not count have the values of a row that counts.

        No gradient flows to the replaced rows, or from their copies to the row that counts. If no
        row counts, all rows are 0.
        """
        index, any_holds = self._one_that_counts()

        def replaced(tensor: Any) -> Any:
            if not len(getattr(tensor, "shape", ())):
                return tensor
            row = ops.take(ops.stop_gradient(tensor), index, axis=0)
            row = ops.where(any_holds, row, ops.zeros_like(row))
            return select(self.hold, tensor, ops.broadcast_to(row, ops.shape(tensor)))

        return keras.tree.map_structure(replaced, structure)

    def _one_that_counts(self) -> tuple[Any, Any]:
        """Returns the index of a row that counts, of shape (1,), and whether there is one.

        The shape is (0,) in a batch without rows, from which no row can be taken.
        """
        rows = ops.shape(self.hold)[0]
        flags = ops.concatenate([ops.cast(self.hold, "int32"), ops.ones((1,), "int32")])
        first = ops.argmax(flags)  # The added row if no other counts.
        any_holds = first < rows
        index = ops.where(any_holds, first, 0)
        return ops.zeros_like(self.hold[:1], index.dtype) + index, any_holds

    def if_any(self, tensor: Any) -> Any:
        """Returns the tensor with a gradient of exactly 0 if no row counts."""
        return ops.where(ops.any(self.hold), tensor, ops.stop_gradient(tensor))


def select_rows(where: Callable[[Any], Any], inputs: Any, term: str) -> SelectedRows:
    """Returns the rows that the `where` of a term selects.

    Args:
        where: Function of the inputs.
        inputs: Inputs of the physics.
        term: Name of the term, for messages.

    Raises:
        TypeError: If `where` does not return numbers or booleans.
        WhereShapeError: If it does not return one value per row.
    """
    what = f"The `where` of physics term '{term}'"
    given = at_full_precision(inputs)
    try:
        found = where(given)
    except Exception as error:
        raise explained(error, where, what) from error
    weights = as_weights(found, what)
    if len(weights.shape) > 1 and weights.shape[-1] == 1:
        weights = ops.squeeze(weights, -1)
    rows, got = row_count(given), tuple(weights.shape)
    known = rows if isinstance(rows, int) else None
    if not got or got[0] not in (None, known):
        raise WhereShapeError(
            f"{what} must return one value per row, computed from all rows of the inputs. It "
            f"returned shape {got} for {'any number of' if known is None else known} rows."
        )
    holds = holding(weights)
    return SelectedRows(
        weights, ops.any(holds, axis=tuple(range(1, len(got)))) if got[1:] else holds
    )
