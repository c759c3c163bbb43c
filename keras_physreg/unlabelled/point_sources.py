"""Turns the arguments `points` and `points_batch_size` of `fit` into sources of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import GeneratorType
from typing import Any

import keras
import numpy as np

from keras_physreg._utils.backend import tensorflow as tf
from keras_physreg._utils.errors import did_you_mean, received, whole_number
from keras_physreg.layers.physics_regularization import PhysicsRegularization, physics_layers
from keras_physreg.unlabelled import arrays
from keras_physreg.unlabelled.input_rows import check_alike
from keras_physreg.unlabelled.sources import ArraySource, DatasetSource, SamplerSource, Source


@dataclass(frozen=True)
class PointSources:
    """Where the points of each term come from.

    Args:
        terms: The terms that have points, in the order of the model's terms.
        whole: Tensors of the sets that are the same in every step, by term.
        streamed: Sources of the others, by term.
    """

    terms: tuple[str, ...] = ()
    whole: dict[str, Any] = field(default_factory=dict)
    streamed: dict[str, Source] = field(default_factory=dict)


def point_sources(
    model: keras.Model, points: Any, batch_size: Any, seed: int | None, like: Any = None
) -> PointSources:
    """Returns the sources of the points of each term; raises if an argument is wrong.

    Args:
        model: The model to train.
        points: Per term arrays, a sampler `(step, batch) -> inputs` or a `tf.data.Dataset`.
        batch_size: Points per step: one number for all terms, or a dict of numbers by term.
        seed: Seed of the order of arrays that are taken in batches; `None`: the given order.
        like: Specs of the model's inputs, or `None` if they are unknown.
    """
    terms = check_terms(model, points, "points")
    sizes = _sizes(batch_size, points, terms)
    whole: dict[str, Any] = {}
    streamed: dict[str, Source] = {}
    for number, term in enumerate(terms):
        name = f"points[{term!r}]"
        own_seed = None if seed is None else seed + 1 + number
        source = _source(points[term], sizes[term], own_seed, name)
        spec = getattr(source, "spec", source)
        if like is not None:
            check_alike(like, spec, f"`{name}`", "the model's inputs")
        _check_static(spec, name)
        if isinstance(source, (ArraySource, SamplerSource, DatasetSource)):
            streamed[term] = source
        else:
            whole[term] = source
    return PointSources(terms, whole, streamed)


def point_arrays(model: keras.Model, points: Any, name: str, like: Any = None) -> PointSources:
    """Returns points that are the same in every step; raises if they are not arrays.

    Args:
        model: A model with physics.
        points: Arrays by term.
        name: Name of the argument, for messages.
        like: Specs of the model's inputs, or `None` if they are unknown.
    """
    terms = check_terms(model, points, name)
    for term in terms:
        if callable(points[term]) or _is_stream(points[term]):
            raise TypeError(
                f"`{name}[{term!r}]` must be arrays. Draw points from a sampler once: "
                f"`sampler(0, 1000)`. {received(f'{name}[{term!r}]', points[term])}"
            )
    whole = {term: point_tensors(points[term], f"{name}[{term!r}]") for term in terms}
    for term, tensors in whole.items() if like is not None else ():
        check_alike(like, tensors, f"`{name}[{term!r}]`", "the model's inputs")
    return PointSources(terms, whole)


def check_terms(model: keras.Model, points: Any, name: str) -> tuple[str, ...]:
    """Returns the terms that have points, in the model's order; raises unless all can have some.

    Args:
        model: A model with physics.
        points: Points by term.
        name: Name of the argument, for messages.

    Raises:
        TypeError: If `points` is not a dict.
        ValueError: If it is empty, names an unknown term, one that needs the label, or one whose
            physics computes other terms in the same call.
    """
    if not isinstance(points, Mapping):
        raise TypeError(
            f"`{name}` must be a dict of points by term: `{{'pde': points}}`. "
            f"{received(name, points)}"
        )
    layers = physics_layers(model)
    known = [term for layer in layers for term in layer.term_names]
    if not known:
        raise ValueError(
            f"`{name}` has no effect: model '{model.name}' has no physics terms"
            + (
                ". Call a `keras_physreg.PhysicsRegularization` layer in it."
                if model.built
                else " before its first call. Call it once, or `build` it."
            )
        )
    if not points:
        raise ValueError(f"`{name}` must have points for at least one term. Received: {points}")
    for term in points:
        if term not in known:
            raise ValueError(
                f"`{name}` names an unknown term.{did_you_mean(term, known)} "
                f"Received: {term!r}. Terms of model '{model.name}': {known}."
            )
    for layer in layers:
        for term in layer.term_names:
            if term in points:
                _check_term(layer, term, name)
    return tuple(term for term in known if term in points)


def check_rows_for_all(model: keras.Model, terms: Sequence[str]) -> None:
    """Raises if a term has no points where there are no other rows."""
    known = [term for layer in physics_layers(model) for term in layer.term_names]
    missing = [term for term in known if term not in terms]
    if missing:
        raise ValueError(
            f"Without labelled rows (x=None) every term needs points. Without points: {missing}. "
            "Give them `points`, or give `x` (and `y`)."
        )


def _check_term(layer: PhysicsRegularization, term: str, name: str) -> None:
    found = next(each for each in layer.terms if each.name == term)
    if found.needs_label:
        raise ValueError(
            f"Physics term '{term}' needs the label, which points have not. Leave it out of "
            f"`{name}`: it is computed on the labelled rows."
        )
    if others := layer.functions.served_with(term):
        raise ValueError(
            f"`{name}` has points for term '{term}', but one call of the physics of layer "
            f"'{layer.name}' computes the terms {others}, too. Give each term its own function: "
            f"`PhysicsRegularization({{{term!r}: ..., {others[0]!r}: ...}}, terms)`."
        )


def _sizes(batch_size: Any, points: Mapping[str, Any], terms: Sequence[str]) -> dict[str, Any]:
    if isinstance(batch_size, Mapping):
        for term in batch_size:
            if term not in points:
                raise ValueError(
                    "`points_batch_size` names a term that has no points."
                    f"{did_you_mean(term, list(terms))} Received: {term!r}. "
                    f"Terms with points: {list(terms)}."
                )
    else:
        batch_size = dict.fromkeys(terms, batch_size)
    return {
        term: whole_number(f"points_batch_size of term '{term}'", batch_size.get(term), 1, True)
        for term in terms
    }


def _source(value: Any, size: int | None, seed: int | None, name: str) -> Any:
    """Returns the source of one point set, or its tensors if they are whole in every step."""
    if isinstance(value, tf.data.Dataset):
        if size is not None:
            raise ValueError(
                f"A `tf.data.Dataset` given as `{name}` has its own batches: leave it out of "
                f"`points_batch_size`. Received: points_batch_size={size}"
            )
        return DatasetSource(value, repeat=True, name=name)
    if _is_stream(value):
        raise TypeError(
            f"`{name}` must be arrays, a `tf.data.Dataset` of batches, or a sampler "
            f"`(step, batch) -> inputs`. {received(name, value)}"
        )
    if callable(value):
        if size is None:
            raise ValueError(
                f"The sampler given as `{name}` needs the number of points per step: "
                "`points_batch_size`, a number or a dict of numbers by term. Received: "
                "points_batch_size=None"
            )
        source = SamplerSource(value, size, name)
        _check_finite(value(0, size), name)
        return source
    tensors = point_tensors(value, name)
    if size is None or size >= arrays.size(tensors):
        return tensors
    return ArraySource(arrays.as_tensors(value, name), size, seed)


def point_tensors(value: Any, name: str) -> Any:
    """Returns the tensors of one point set in memory; raises if they are not finite.

    Args:
        value: Array or structure of arrays.
        name: What the user calls it, for messages.
    """
    tensors = arrays.as_tensors(value, name, device=None)
    _check_finite(tensors, name)
    return tensors


def _is_stream(value: Any) -> bool:
    return isinstance(value, (tf.data.Dataset, keras.utils.PyDataset, GeneratorType))


def _check_finite(structure: Any, name: str) -> None:
    for tensor in keras.tree.flatten(structure):
        if tensor is not None:
            values = keras.ops.convert_to_numpy(tensor)
            if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
                bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
                raise ValueError(
                    f"`{name}` must be finite. Received: {len(bad)} of {len(values)} points with "
                    f"NaN or infinity, the first in row {bad[0]}."
                )


def _check_static(spec: Any, name: str) -> None:
    sizes = [part.shape[0] for part in keras.tree.flatten(spec) if part is not None]
    if None in sizes:
        raise ValueError(
            f"The dataset given as `{name}` must have batches of one known size. Use "
            "`dataset.batch(n, drop_remainder=True)`."
        )
