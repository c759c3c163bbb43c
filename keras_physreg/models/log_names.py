"""The names under which a model logs: no two values may share one."""

import keras

from keras_physreg.layers.metrics import LastValues, NamedMeans


def check_log_names(model: keras.Model) -> None:
    """Raises if a log has the name of another: one would overwrite the other in silence."""
    names = [name for metric in model.metrics for name in _logged_names(metric)]
    # A constant that two physics layers share is logged by both, and is one value.
    names += [name for name, _ in {*_logged_constants(model)}]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise ValueError(
            f"Model '{model.name}' would log two values of one name: {duplicates}. A physics term "
            "logs '<term>_loss', a constant its name; rename the term, the constant, the compiled "
            "metric or the output layer."
        )


def _logged_constants(model: keras.Model) -> list[tuple[str, int]]:
    followed = (metric for metric in model.metrics if isinstance(metric, LastValues))
    return [(name, id(owner)) for metric in followed for name, owner in metric.owners.items()]


def _logged_names(metric: keras.metrics.Metric) -> list[str]:
    if isinstance(metric, LastValues):
        return []
    if isinstance(metric, NamedMeans):
        return list(metric.names)
    # The result of a mean is one number, and need not be computed for its name.
    result = None if isinstance(metric, keras.metrics.Mean) else metric.result()
    return list(result) if isinstance(result, dict) else [metric.name]
