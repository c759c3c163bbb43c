"""Raising the term weights while a network trains: first a, then b.

The model and data are those of pv_module_parameters.py: datasheets `Z` of PV modules in, the five
single-diode parameters `x` out, 100 labelled modules, and the loss

    data_loss(x, x_pred) + a * x_loss(x, x_hat) + b * z_loss(Z, Z_pred)

Good weights are not known in advance. So a rises from 1e-10 in equal ratios, then b, and then both
stay: one training passes every weight, and its picture shows from which weight on a term matters.
Compare the term losses with their floors (their values at the true labels), and watch the data loss
on validation modules: it is not weighted, so its epochs can be compared.

Is a ramp also the better way to train? Not here: while the weights are still too small to matter,
the network memorises its 100 labels and does not fully recover. The table at the end compares ramps
with the same weights held from the start.

The guide: guides/schedules.md

Run: python examples/weight_ramp.py
"""

import argparse
import time
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import pv_module_parameters as example
import pv_modules as pv
import tensorflow as tf

import keras_physreg as kp
from keras_physreg.plotting import draw_weights

COLOURS = {"x": "#e69f00", "z": "#0072b2"}
END = 100.0  # the weights that pv_module_parameters.py chose on validation modules
START, LATE_START = 1e-10, 1.0

# The ramps


def ramps(start, epochs):
    """A third of the training for the ramp of a, a third for that of b, a third at the end."""
    third = epochs // 3
    return {
        "x": kp.GeometricRamp(start, END, duration=third),
        "z": kp.GeometricRamp(start, END, duration=third, begin=third),
    }


def settings(epochs):
    """The trainings to compare: term weights at the start, and how they move."""
    return {
        "data only": ((0.0, 0.0), None),
        f"a = b = {END:g} from the start": ((END, END), None),
        f"a, then b, from {START:g}": ((0.0, 0.0), ramps(START, epochs)),
        f"a, then b, from {LATE_START:g}": ((0.0, 0.0), ramps(LATE_START, epochs)),
    }


# The training


def train(data, epochs, seed, weights, schedules):
    """Trains one model on full batches; returns it with the logs of every epoch."""
    keras.utils.set_random_seed(seed)
    model = example.build_model(*weights)
    model.compile(keras.optimizers.Adam(2e-3), "mse", steps_per_execution=example.STEPS)
    keep_best_epoch = keras.callbacks.EarlyStopping(
        "val_data_loss",
        mode="min",
        patience=epochs,
        # Only epochs after the end of the ramps may be the best one.
        start_from_epoch=2 * (epochs // 3) if schedules else 0,
        restore_best_weights=True,
    )
    history = model.fit(
        tf.data.Dataset.from_tensors(data.labelled).repeat(),
        steps_per_epoch=example.STEPS,
        epochs=epochs,
        validation_data=data.validation,
        validation_batch_size=1000,
        callbacks=[keep_best_epoch, *([kp.WeightScheduler(schedules)] if schedules else [])],
        shuffle=False,
        verbose=0,
    )
    return model, history.history


def train_all(Z, x, epochs, seeds):
    """Trains every setting with every seed; returns test errors and the logs of the first seed."""
    errors = {name: [] for name in settings(epochs)}
    first_logs = {}
    for seed in range(seeds):
        data = pv.split(Z, x, labelled=100, seed=seed)
        for name, (weights, schedules) in settings(epochs).items():
            start = time.perf_counter()
            model, logs = train(data, epochs, seed, weights, schedules)
            first_logs.setdefault(name, logs)
            errors[name].append(example.rmse(model, *data.test).mean())
            line = f"seed {seed + 1}/{seeds}  {name:28} test error {errors[name][-1]:.3f}"
            print(f"{line}  {time.perf_counter() - start:.1f} s", flush=True)
    return errors, first_logs


# The tables


def print_ramp(logs):
    """The ramp, about fifteen of its epochs."""
    columns = ("x_weight", "z_weight", "x_loss", "z_loss", "data_loss", "val_data_loss")
    print("\nThe first seed's ramp of a, then b\nepoch" + "".join(f"{c:>15}" for c in columns))
    epochs = len(logs["loss"])
    for epoch in sorted({*range(0, epochs, max(1, epochs // 15)), epochs - 1}):
        print(f"{epoch:5}" + "".join(f"{logs[column][epoch]:15.3g}" for column in columns))


def print_errors(errors):
    """Test errors, and the change against the same weights held from the start, seed by seed."""
    seeds = len(errors["data only"])
    print(f"\nRMSE / sd on 3000 test modules, mean of the 5 outputs, mean ± sd over {seeds} seeds")
    print("Best epoch by val_data_loss; of a ramp, the best of the epochs at its end")
    held = np.array(list(errors.values())[1])
    for name, found in errors.items():
        change = 100 * (np.array(found) / held - 1)
        text = f"{change.mean():+.0f} % against held weights, higher in {np.sum(change > 0)} seeds"
        compared = "" if np.all(change == 0) else text
        print(f"{name:28}{np.mean(found):.3f} ± {example.spread(found):.3f}  {compared}".rstrip())


# The picture


def floors_of(data):
    """What the logged term losses would be if every prediction were the label."""
    floors = {}
    for prefix, (Z, x) in (("", data.labelled), ("val_", data.validation)):
        for term, floor in pv.term_losses(Z, x, x).items():
            floors[f"{prefix}{term}_loss"] = floor
    return floors


def draw(logs, held, floors, path):
    """Saves the figure: weights, term losses with floors, and data losses over the epochs."""
    figure, axes = plt.subplots(3, 1, figsize=(8, 10), sharex=True, layout="constrained")
    epochs = np.arange(len(logs["loss"]))
    axes[0].set_prop_cycle(color=list(COLOURS.values()))
    draw_weights(axes[0], epochs, {f"{t}_weight": np.array(logs[f"{t}_weight"]) for t in COLOURS})
    for term, colour in COLOURS.items():
        for name, line in ((f"{term}_loss", ":"), (f"val_{term}_loss", "-")):
            axes[1].plot(epochs, logs[name], line, color=colour, label=name)
            dashes = "--" if line == "-" else (0, (1, 3))
            axes[1].axhline(floors[name], color=colour, ls=dashes, lw=1, label=f"floor of {name}")
    axes[1].set(ylabel="term loss / sd²", yscale="log")
    axes[2].plot(epochs, logs["data_loss"], ":", color="#444444", label="data_loss")
    axes[2].plot(epochs, logs["val_data_loss"], color="#444444", label="val_data_loss")
    label = f"val_data_loss, a = b = {END:g} from the start"
    axes[2].plot(epochs, held["val_data_loss"], color="#009e73", label=label)
    axes[2].set(xlabel="epoch", ylabel="data loss / sd²", yscale="log")
    for axis in axes[1:]:
        axis.grid(alpha=0.3)
        axis.legend(
            loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, fontsize="small"
        )
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main():
    """Reads the options and runs it all."""
    default = Path(__file__).parent / "output"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60, help=f"of {example.STEPS} steps")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=default, help="folder of the figure")
    options = parser.parse_args()
    if options.epochs < 6:
        parser.error("two ramps and what comes after them need at least 6 epochs")

    Z, x = pv.load_modules()
    errors, logs = train_all(Z, x, options.epochs, options.seeds)
    _, held, ramp, _ = logs.values()
    print_ramp(ramp)
    print_errors(errors)
    options.out.mkdir(parents=True, exist_ok=True)
    draw(ramp, held, floors_of(pv.split(Z, x, labelled=100)), options.out / "weight_ramp.png")
    print(f"\nSaved in {options.out}: weight_ramp.png")


if __name__ == "__main__":
    main()
