"""Callbacks that only write logs, which get the epochs of a trial after its training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_physreg._utils.errors import received
from keras_physreg.sweep import ReplicaHistory
from keras_physreg.tuner.search.execution_results import scalars


def checked(callbacks: Any) -> list[Any]:
    """Returns the callbacks as a list, or raises for a callback that needs `fit`."""
    callbacks = keras.tree.flatten(callbacks or [])
    for callback in callbacks:
        name = type(callback).__name__
        if isinstance(callback, keras.callbacks.TensorBoard):
            if callback.histogram_freq or callback.write_images or callback.update_freq != "epoch":
                raise ValueError(
                    "`TensorBoard` gets the logs of replicas once per epoch, after their training: "
                    "use `TensorBoard(log_dir)` without histograms, images and batches. Received: "
                    f"histogram_freq={callback.histogram_freq}, "
                    f"write_images={callback.write_images}, update_freq={callback.update_freq!r}"
                )
        elif not isinstance(callback, keras.callbacks.CSVLogger):
            raise ValueError(
                f"`ReplicaTuner` cannot run the callback {name}: its trials are replicas in one "
                "program, not calls of `fit`. It takes TensorBoard and CSVLogger. Each trial is "
                "kept at its best epoch anyway, and for ramps there is `ramps` of "
                "`PhysicsHyperModel`. Leave the callback out, or use a KerasTuner tuner such as "
                f"`keras_tuner.RandomSearch`. {received('callbacks', callbacks)}"
            )
    return callbacks


def write(
    callbacks: list[Any],
    model: keras.Model,
    history: ReplicaHistory,
    trial: Any,
    replicas: Sequence[int],
) -> None:
    """Calls each callback with the epochs of a trial, execution by execution.

    TensorBoard writes to `log_dir/<trial>/execution<n>`, as with KerasTuner's own tuners. CSVLogger
    writes to `<trial>/execution<n>` in the folder of its file.
    """
    for callback in callbacks:
        for execution, replica in enumerate(replicas):
            own = _copy(callback, Path(trial.trial_id) / f"execution{execution}")
            _replay(own, model, history, replica)


def _copy(callback: Any, subfolder: Path) -> Any:
    own = copy.copy(callback)
    if isinstance(own, keras.callbacks.TensorBoard):
        own.log_dir = str(Path(own.log_dir) / subfolder)
    else:
        path = Path(own.filename)
        folder = path.parent / subfolder
        folder.mkdir(parents=True, exist_ok=True)
        own.filename = str(folder / path.name)
    return own


def _replay(callback: Any, model: keras.Model, history: ReplicaHistory, replica: int) -> None:
    epochs = int(history.epochs_done[replica])
    callback.set_params({"epochs": epochs, "steps": None, "verbose": 0})
    callback.set_model(model)
    callback.on_train_begin()
    for epoch in range(epochs):
        logs = {key: float(history.history[key][epoch, replica]) for key in scalars(history)}
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, logs)
    callback.on_train_end()
