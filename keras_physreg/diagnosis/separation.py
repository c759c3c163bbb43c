"""Takes residuals apart: into a part from the labels and a part from the inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_physreg.diagnosis.constant_trials import scope_of
from keras_physreg.diagnosis.graphs import compiled
from keras_physreg.diagnosis.labels import labels_as_prediction
from keras_physreg.diagnosis.observation import call_unnoticed, unweighted_step
from keras_physreg.diagnosis.probe_rows import Rows
from keras_physreg.diagnosis.relations import Relation, relate
from keras_physreg.layers.physics_regularization import physics_layers
from keras_physreg.layers.row_weights import row_weights
from keras_physreg.terms.term import PhysicsTerm

# Rows whose inputs meet the labels of each other.
MAX_BLOCK, MIN_BLOCK = 32, 8
MAX_BLOCKS = 8
MAX_INPUT_VALUES = 8_000_000  # That the network sees in all, so that large inputs take no longer.
MAX_VALUES_PER_ROW = 16
# Least standard deviation of either part, over the largest residual: less is rounding, of a
# residual of labels or of inputs alone.
MIN_PART = 1e-4
# Most variance of what is neither part, over that of both: else it is no difference of two parts.
MAX_INTERACTION = 0.2
# Most variance of the labels' part, over that where each label comes from another row, at which
# the residual is one between labels.
MAX_KEPT = 0.1
# Least variance of the residual, over that with labels of other rows, of physics that knows nothing
# of the labels.
MIN_LEFT = 0.5
# Least share of its variance that a residual has from a sum of the labels, each with a factor.
LINEAR = 0.9999
# Chance that normal values have one sign, under which it is taken for a rule.
ONE_SIGN = 0.01


@dataclass(frozen=True)
class Separated:
    """What inputs paired with the labels of other rows show about a residual.

    Args:
        relations: How its part from the labels goes along with that from the inputs.
        one_sided: Components that have one sign there, too, as a norm or a square has; not those
            that are linear in the labels, as an inequality is that all labels break.
    """

    relations: tuple[Relation, ...] = ()
    one_sided: frozenset[int] = frozenset()


def separate_residuals(
    model: keras.Model,
    rows: Rows,
    without: frozenset[int],
    confidence: float,
    skipped: frozenset[str] = frozenset(),
) -> dict[str, Separated]:
    """Returns per residual how its part from the labels goes along with that from the inputs.

    The inputs of each row are brought together with the labels of other rows. Of the table
    `residual[i, j]` for inputs `i` and labels `j`, the means over its rows and columns are what
    labels and inputs contribute: the main effects of a two-way analysis of variance; Fisher,
    "Statistical Methods for Research Workers" (1925), chapter 7. A residual that is no difference
    of two such parts gets no verdict, nor does one that relates the labels to one another.

    Args:
        model: A built model.
        rows: The rows.
        without: Numbers of rows to leave out.
        confidence: Probability of the intervals.
        skipped: Terms of a `PhysicsModel` that are not computed on these rows.

    Returns:
        What is known, by the name of the term; nothing of terms that are no residuals.
    """
    residuals = any(_is_residual(t) for layer in physics_layers(model) for t in layer.terms)
    blocks = _blocks(rows, without)
    if rows.y is None or not residuals or not blocks:
        return {}
    try:
        program = compiled(model, _Look(model, skipped).look, rows, MAX_BLOCK)
        tables: dict[str, list[np.ndarray]] = {}
        labels = [_labels(rows.y, numbers) for numbers in blocks]
        for numbers in blocks:
            for name, table in _tables(program, rows, numbers).items():
                tables.setdefault(name, []).append(table)
    except Exception:  # The user's physics need not run with labels that do not belong there.
        return {}
    return {
        name: Separated(_relations(parts, confidence), _one_sided(parts, labels))
        for name, parts in tables.items()
    }


class _Look:
    def __init__(self, model: keras.Model, skipped: frozenset[str]) -> None:
        self._model, self._skipped = model, skipped

    def look(self, x: Any, y: Any, sample_weight: Any) -> dict[str, Any]:
        """Returns the residuals with the labels in place of the prediction."""
        del sample_weight
        found: dict[str, Any] = {}
        # In the scope no variable is assigned, that of a random state neither.
        with scope_of([], []), unweighted_step(self._model, self._skipped) as step:
            y_pred = call_unnoticed(self._model, x, False)
            for evaluation in list(step.evaluations):
                labels = labels_as_prediction(evaluation, y, y_pred)
                terms, computed = evaluation.layer.terms, evaluation.computed
                residuals = [t for t in terms if _is_residual(t) and t.name in computed]
                if labels is None or evaluation.targets is not None or not residuals:
                    continue
                there = evaluation.layer.evaluate_again(evaluation, labels)
                for term in residuals:
                    output = there.outputs[term.name]
                    if len(output.shape) in (1, 2) and row_weights(term, there) is None:
                        found[term.name] = ops.reshape(output, (ops.shape(output)[0], -1))
        return found


def _is_residual(term: PhysicsTerm) -> bool:
    """Returns whether a term is a residual of all rows at the prediction."""
    return term.reference is None and term.at != "labels" and term.where is None


def _blocks(rows: Rows, without: frozenset[int]) -> list[np.ndarray]:
    numbers = rows.numbers[~np.isin(rows.numbers, list(without))]
    leaves = [leaf for leaf in keras.tree.flatten((rows.x, rows.y)) if leaf is not None]
    for leaf in leaves:
        if leaf.dtype.kind == "f":
            part = leaf[numbers].reshape(len(numbers), -1)
            numbers = numbers[np.isfinite(part).all(axis=1)]
    weight = rows.sample_weight
    if isinstance(weight, np.ndarray):
        numbers = numbers[weight[numbers].reshape(len(numbers), -1)[:, 0] > 0]
    # Neighbours in time are alike: blocks are drawn from all over.
    numbers = np.random.default_rng(0).permutation(numbers)
    values = sum(leaf[:1].size for leaf in keras.tree.flatten(rows.x) if leaf is not None)
    block = min(MAX_BLOCK, math.isqrt(MAX_INPUT_VALUES // max(values, 1)), len(numbers))
    if block < MIN_BLOCK:
        return []
    affordable = MAX_INPUT_VALUES // (block * block * max(values, 1))
    count = min(MAX_BLOCKS, affordable, len(numbers) // block)
    return [numbers[k : k + block] for k in range(0, count * block, block)]


def _tables(program: Any, rows: Rows, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Returns per residual `(inputs, labels, components)`, and the same with scrambled labels."""
    size = len(numbers)
    inputs, labels = np.repeat(numbers, size), np.tile(numbers, size)
    found: dict[str, np.ndarray] = {}
    for key, y in (("", rows.y), ("scrambled ", _scrambled(rows.y, numbers))):
        chosen = replace(rows, y=y)
        x_part = replace(chosen, numbers=inputs)
        batch = next(x_part.batches(len(inputs)))
        batch_y = next(replace(chosen, numbers=labels).batches(len(labels))).y
        outputs = program(batch.x, batch_y, batch.sample_weight)
        for name, output in outputs.items():
            values = ops.convert_to_numpy(output).astype("float64")
            if len(values) == size * size and values.shape[1] <= MAX_VALUES_PER_ROW:
                found[key + name] = values.reshape(size, size, -1)
    return {
        name: np.stack([found[name], found[f"scrambled {name}"]])
        for name in found
        if f"scrambled {name}" in found
    }


def _scrambled(y: Any, numbers: np.ndarray) -> Any:
    """Returns labels of which each component comes from another row."""
    shift = iter(range(1, 10_000))

    def scramble(leaf: Any) -> Any:
        if leaf is None:
            return None
        leaf = leaf.copy()
        columns = leaf.reshape(len(leaf), -1)
        for k in range(columns.shape[1]):
            columns[numbers, k] = columns[np.roll(numbers, next(shift)), k]
        return columns.reshape(leaf.shape)

    return keras.tree.map_structure(scramble, y)


@np.errstate(all="ignore")
def _relations(tables: list[np.ndarray], confidence: float) -> tuple[Relation, ...]:
    found = []
    for k in range(tables[0].shape[-1]):
        values = np.concatenate([table[0, ..., k].ravel() for table in tables])
        if not np.isfinite(values).all() or values.min() >= 0 or values.max() <= 0:
            continue
        parts = _Parts.of([table[..., k] for table in tables])
        smallest = (MIN_PART * np.abs(values).max()) ** 2
        if min(parts.squares) <= smallest or parts.mixed > MAX_INTERACTION * sum(parts.squares):
            continue
        columns = parts.labels[:, None], -parts.inputs[:, None]
        relation = relate(k, *columns, confidence)
        if relation is None:
            continue
        knows = parts.share_left < MIN_LEFT or parts.share_kept < MAX_KEPT
        found.append(
            replace(
                relation,
                r2_high=1.0 if knows else relation.r2_high,
                left=parts.left_by(relation.slope),
                by_residual=True,
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class _Parts:
    """A residual taken apart: `residual = labels + inputs + interaction + a constant`.

    Args:
        labels: What the labels of each row contribute.
        inputs: What its inputs do.
        interaction: What is neither, with inputs and labels of one row.
        mixed: Mean square of what is neither, over all pairs.
        scrambled: What labels contribute of which each component comes from another row.
    """

    labels: np.ndarray
    inputs: np.ndarray
    interaction: np.ndarray
    mixed: float
    scrambled: np.ndarray

    @classmethod
    def of(cls, tables: list[np.ndarray]) -> _Parts:
        """Takes tables `(belonging or scrambled, inputs, labels)` of several blocks apart."""
        found: list[tuple[np.ndarray, ...]] = []
        for belonging, scrambled in tables:
            centred = belonging - belonging.mean()
            inputs, labels = centred.mean(axis=1), centred.mean(axis=0)
            neither = centred - inputs[:, None] - labels[None, :]
            mean = scrambled.mean(axis=0)
            found.append(
                (labels, inputs, np.diagonal(neither), neither.ravel(), mean - mean.mean())
            )
        labels, inputs, own, neither, scrambled = map(np.concatenate, zip(*found, strict=True))
        return cls(labels, inputs, own, float(np.mean(neither**2)), scrambled)

    @property
    def squares(self) -> tuple[float, float]:
        """Mean squares of both parts."""
        return float(np.mean(self.labels**2)), float(np.mean(self.inputs**2))

    @property
    def share_left(self) -> float:
        """Variance of the residual, over that where inputs and labels do not belong together."""
        own = np.var(self.labels + self.inputs + self.interaction)
        return float(own / (sum(self.squares) + self.mixed))

    @property
    def share_kept(self) -> float:
        """Mean square of the labels' part, over that of scrambled labels."""
        return float(self.squares[0] / np.mean(self.scrambled**2))

    def left_by(self, slope: float) -> float:
        """Returns the share of the residual's variance that is left with labels over a slope."""
        others = self.inputs + self.interaction
        return float(np.var(self.labels / slope + others) / np.var(self.labels + others))


@np.errstate(all="ignore")
def _one_sided(tables: list[np.ndarray], labels: list[np.ndarray]) -> frozenset[int]:
    """Returns the components of one sign, where normal values would have had the other, too."""
    values = np.concatenate([table.reshape(-1, table.shape[-1]) for table in tables])
    found = []
    for k, column in enumerate(values.T):
        one_sign = (column >= 0).all() or (column <= 0).all()
        if one_sign and column.std() > 0:
            kept = NormalDist().cdf(abs(column.mean()) / column.std())
            rule = len(column) * math.log(kept) < math.log(ONE_SIGN)
            if rule and not _is_linear([table[0, ..., k] for table in tables], labels):
                found.append(k)
    return frozenset(found)


def _labels(y: Any, numbers: np.ndarray) -> np.ndarray:
    """Returns the labels of rows as columns, and a column of ones."""
    leaves = [leaf for leaf in keras.tree.flatten(y) if leaf is not None]
    columns = [leaf[numbers].reshape(len(numbers), -1).astype("float64") for leaf in leaves]
    return np.concatenate([*columns, np.ones((len(numbers), 1))], axis=1)


def _is_linear(tables: list[np.ndarray], labels: list[np.ndarray]) -> bool:
    """Returns whether a residual, `(inputs, labels)` per block, is linear in the labels alone."""
    values = np.concatenate([table.T for table in tables])  # One row per label.
    columns = np.concatenate(labels)
    if columns.shape[1] > len(columns) / 2 or len(values) != len(columns):
        return False
    left = values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
    return float(left.var()) <= (1 - LINEAR) * float(values.var())
