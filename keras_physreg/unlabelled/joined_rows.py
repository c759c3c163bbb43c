"""Joins all rows of one step for one call of the model: labelled, unlabelled, then points."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from keras_physreg.layers.evaluation import RowKinds, row_count
from keras_physreg.layers.point_rows import PointRows
from keras_physreg.layers.step import Step
from keras_physreg.unlabelled.input_rows import change_first, check_alike, join


@dataclass
class JoinedCall:
    """The arguments of a call of a model on all rows of a step.

    Args:
        args: Positional arguments.
        kwargs: Keyword arguments.
        labelled: Number of the first rows, whose outputs the call returns; `None`: of all rows.
        kinds: Which rows of no point set have labels; `None`: all of them.
        points: Which rows belong to point sets; `None`: none of them.
    """

    args: tuple
    kwargs: dict[str, Any]
    labelled: Any = None
    kinds: RowKinds | None = None
    points: PointRows | None = None


def joined_call(call: Callable, args: tuple, kwargs: dict[str, Any], step: Step) -> JoinedCall:
    """Joins the other rows of a step to the first argument of a call of its model.

    Args:
        call: The `call` of the model.
        args: Positional arguments.
        kwargs: Keyword arguments.
        step: The step.
    """
    found = JoinedCall(args, kwargs, points=step.joined)
    if step.joined is not None:
        return found

    def joined(x: Any) -> Any:
        rows = x
        if step.unlabelled is not None or step.points:  # Else the outputs stay as they are.
            found.labelled = row_count(x)
        if step.unlabelled is not None:
            rows = join(x, step.unlabelled)
            found.kinds = RowKinds(found.labelled, step.unlabelled_share)
        if step.points or step.skipped:
            rows, found.points = join_points(step.points, step.skipped, rows)
        return rows

    if step.unlabelled is not None or step.points or step.skipped:
        found.args, found.kwargs = change_first(call, args, kwargs, joined)
    return found


def join_points(
    points: Mapping[str, Any], skipped: frozenset[str] = frozenset(), rows: Any = None
) -> tuple[Any, PointRows]:
    """Joins the inputs of point sets, after those of other rows.

    Args:
        points: Inputs of each point set, by term.
        skipped: Terms that are not computed.
        rows: Inputs of rows of no point set, or `None`.

    Returns:
        The joined inputs, and where the rows of each point set are.
    """
    sizes = {name: row_count(part) for name, part in points.items()}
    before = None if rows is None else row_count(rows)
    named = {"the labelled rows": rows} if rows is not None else {}
    named |= {f"points[{name!r}]": part for name, part in points.items()}
    first, structure = next(iter(named.items()))
    for name, part in named.items():
        check_alike(structure, part, name, first)
    leaves = list(zip(*(keras.tree.flatten(part) for part in named.values()), strict=True))
    if len(named) == 1:
        return structure, PointRows(before, sizes, {}, skipped)
    joined = [None if leaf[0] is None else ops.concatenate(leaf, axis=0) for leaf in leaves]
    parts = {id(j): (j, list(leaf)) for j, leaf in zip(joined, leaves, strict=True)}
    return (
        keras.tree.pack_sequence_as(structure, joined),
        PointRows(before, sizes, parts, skipped),
    )
