"""Callbacks that only write logs: they get the epochs of a trial after its training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_physreg.sweep import ReplicaHistory
from keras_physreg.tuner.search.execution_results import scalars


def checked(callbacks: Any) -> list[Any]:
    """Returns the callbacks, or raises for one that would need `fit`."""
    callbacks = keras.tree.flatten(callbacks or [])
    for callback in callbacks:
        name = type(callback).__name__
        if isinstance(callback, keras.callbacks.TensorBoard):
            if callback.histogram_freq or callback.write_images or callback.update_freq != "epoch":
                raise ValueError(
                    "Replicas are logged once per epoch, after their training: use "
                    "`TensorBoard(log_dir)` without histograms, images and batches. Received: "
                    f"histogram_freq={callback.histogram_freq}, "
                    f"write_images={callback.write_images}, update_freq={callback.update_freq!r}"
                )
        elif not isinstance(callback, keras.callbacks.CSVLogger):
            raise ValueError(
                f"`ReplicaTuner` cannot run the callback {name}: its trials are replicas in one "
                "program, not calls of `fit`. It takes TensorBoard and CSVLogger; each trial is "
                "kept at its best epoch anyway, and ramps are the `ramps` of `PhysicsHyperModel`. "
                "Leave it out, or use a KerasTuner tuner such as `keras_tuner.RandomSearch`. "
                f"Received: callbacks={callbacks}"
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

    TensorBoard writes to `log_dir/<trial>/execution<n>`, as under KerasTuner's own tuners, and
    CSVLogger to the same place beside its file name.
    """
    for callback in callbacks:
        for execution, replica in enumerate(replicas):
            own = _copy(callback, Path(trial.trial_id) / f"execution{execution}")
            _tell(own, model, history, replica)


def _copy(callback: Any, place: Path) -> Any:
    own = copy.copy(callback)
    if isinstance(own, keras.callbacks.TensorBoard):
        own.log_dir = str(Path(own.log_dir) / place)
    else:
        path = Path(own.filename)
        folder = path.parent / place
        folder.mkdir(parents=True, exist_ok=True)
        own.filename = str(folder / path.name)
    return own


def _tell(callback: Any, model: keras.Model, history: ReplicaHistory, replica: int) -> None:
    epochs = int(history.epochs_done[replica])
    callback.set_params({"epochs": epochs, "steps": None, "verbose": 0})
    callback.set_model(model)
    callback.on_train_begin()
    for epoch in range(epochs):
        logs = {key: float(history.history[key][epoch, replica]) for key in scalars(history)}
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, logs)
    callback.on_train_end()
