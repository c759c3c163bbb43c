"""Checks that no two values of a model are logged under the same name."""

import keras

from keras_physreg._utils.names import duplicates
from keras_physreg.layers.metrics import LastValues, NamedMeans


def check_log_names(model: keras.Model) -> None:
    """Raises if two values share a name: Keras would log only one of them, without a warning."""
    names = [name for metric in model.metrics for name in _logged_names(metric)]
    # Two physics layers may share a constant: both log it, but it is one value.
    names += [name for name, _ in {*_logged_constants(model)}]
    if twice := duplicates(names):
        raise ValueError(
            f"Model '{model.name}' would log two values under one name: {twice}. A physics term "
            "is logged as '<term>_loss', a constant under its name. Rename the term, the constant, "
            "the compiled metric or the output layer."
        )


def _logged_constants(model: keras.Model) -> list[tuple[str, int]]:
    followed = (metric for metric in model.metrics if isinstance(metric, LastValues))
    return [(name, id(owner)) for metric in followed for name, owner in metric.owners.items()]


def _logged_names(metric: keras.metrics.Metric) -> list[str]:
    if isinstance(metric, LastValues):
        return []
    if isinstance(metric, NamedMeans):
        return list(metric.names)
    # A mean has one value: its result need not be computed to know its name.
    result = None if isinstance(metric, keras.metrics.Mean) else metric.result()
    return list(result) if isinstance(result, dict) else [metric.name]
