"""Single-diode parameters of PV modules from their datasheets, with 100 labelled modules.

The equations. A datasheet `Z` (8 numbers) goes in, the parameters `x` of the single-diode equation
(5 numbers) come out. That equation at short circuit, open circuit and maximum power is the physics
`calc_reg_terms(Z, x_pred) -> {"x": x_hat, "z": Z_pred}`; see pv_modules.py. The total loss is

    data_loss(x, x_pred) + weight_x * x_loss(x, x_hat) + weight_z * z_loss(Z, Z_pred)

The question. Do the two terms help a network that has only 100 labels? Every setting is trained
once per seed; a seed draws the labelled modules and the initial weights. Validation and test
modules are the same for all. One setting is what people do without physics: "stopped early" trains
on data only and keeps the epoch with the lowest loss on the 1000 validation modules.

The term weights were chosen on validation modules, by powers of ten: see `--choose-weights`.

Run: python examples/pv_module_parameters.py
"""

import argparse
import time
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import pv_modules as pv
import tensorflow as tf

import keras_physreg as kp

STEPS = 50  # gradient steps in an epoch, each on all labelled modules at once
SETTINGS = {  # name: (weight of term x, weight of term z)
    "data only": (0.0, 0.0),
    "stopped early": (0.0, 0.0),
    "term x": (100.0, 0.0),
    "term z": (0.0, 100.0),
    "both terms": (100.0, 100.0),
}
COLOURS = dict(zip(SETTINGS, ("#444444", "#a8a8a8", "#e69f00", "#0072b2", "#009e73"), strict=True))
COLUMNS = [*(quantity.name for quantity in pv.PARAMETERS), "mean of 5"]

# The model


def build_model(weight_x, weight_z):
    """A small network, and one layer that brings in the physics."""
    Z = keras.Input((8,))
    hidden = keras.layers.Dense(64, activation="tanh")(Z)
    hidden = keras.layers.Dense(64, activation="tanh")(hidden)
    x_pred = keras.layers.Dense(5)(hidden)
    terms = [
        kp.PhysicsTerm("x", reference="target", components=[0, 1], weight=weight_x),
        kp.PhysicsTerm("z", reference="input", components=[0, 1, 2, 3], weight=weight_z),
    ]
    x_pred = kp.PhysicsRegularization(pv.calc_reg_terms, terms)(Z, x_pred)
    return kp.PhysicsModel(Z, x_pred)


# The training


def train(weights, data, epochs, seed, callbacks=()):
    """Trains one model on full batches; returns it with the logs of every epoch."""
    keras.utils.set_random_seed(seed)
    model = build_model(*weights)
    learning_rate = keras.optimizers.schedules.CosineDecay(5e-3, epochs * STEPS)
    model.compile(keras.optimizers.Adam(learning_rate), loss="mse", steps_per_execution=STEPS)
    history = model.fit(
        tf.data.Dataset.from_tensors(data.labelled).repeat(),
        steps_per_epoch=STEPS,
        epochs=epochs,
        validation_data=data.validation,
        validation_batch_size=1000,
        callbacks=list(callbacks),
        shuffle=False,
        verbose=0,
    )
    return model, history.history


def keep_best_epoch():
    """Early stopping, by the data loss: `val_loss` is weighted and says nothing across weights."""
    return keras.callbacks.EarlyStopping(
        "val_data_loss", mode="min", patience=10, restore_best_weights=True
    )


def rmse(model, Z, x):
    """Error of each output in units of its sd, `(5,)`; prediction needs neither physics nor x."""
    x_pred = keras.ops.convert_to_numpy(kp.strip_physics(model)(Z))
    return np.sqrt(np.mean((x_pred - x) ** 2, axis=0))


def measure(model, logs, data):
    """What the tables and the figure need of one trained model."""
    errors = rmse(model, *data.test)
    found = {"error": [*errors, errors.mean()], "curve": logs["val_data_loss"]}
    for rows in ("labelled", "test"):
        Z, x = getattr(data, rows)
        values = model.evaluate(Z, x, batch_size=len(Z), return_dict=True, verbose=0)
        floors = pv.term_losses(Z, x, x)
        for term in ("x", "z"):
            found[f"{rows} {term}_loss"] = values[f"{term}_loss"]
            found[f"{rows} {term}_floor"] = floors[term]
    return found


def train_all(Z, x, epochs, seeds):
    """Trains every setting with every seed; returns what was measured and the last model."""
    results = {name: [] for name in SETTINGS}
    for seed in range(seeds):
        data = pv.split(Z, x, labelled=100, seed=seed)
        for name, weights in SETTINGS.items():
            start = time.perf_counter()
            callbacks = [keep_best_epoch()] if name == "stopped early" else []
            model, logs = train(weights, data, epochs, seed, callbacks)
            results[name].append(measure(model, logs, data))
            error, seconds = results[name][-1]["error"][-1], time.perf_counter() - start
            line = f"seed {seed + 1}/{seeds}  {name:14} test error {error:.3f}  {seconds:.1f} s"
            print(line, flush=True)
    return results, model


def choose_weights(Z, x, epochs, seeds):
    """Prints the error on validation modules for one weight after the other."""
    splits = [pv.split(Z, x, labelled=100, seed=seed) for seed in range(seeds)]
    print("Validation RMSE / sd, mean of the 5 outputs and over seeds")
    print(f"{'weight':>8}{'term x':>12}{'term z':>12}{'both terms':>12}")
    for weight in (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0):
        print(f"{weight:8g}", end="")
        for weights in ((weight, 0.0), (0.0, weight), (weight, weight)):
            models = [train(weights, data, epochs, s)[0] for s, data in enumerate(splits)]
            errors = [rmse(m, *d.validation) for m, d in zip(models, splits, strict=True)]
            print(f"{np.mean(errors):12.3f}", end="", flush=True)
        print()


# The tables


def over_seeds(found, key):
    """One measured quantity, the seeds along the first axis."""
    return np.array([one[key] for one in found])


def spread(values):
    """Standard deviation over seeds; a single one has none."""
    if len(values) == 1:
        return np.full_like(values[0], np.nan)
    return np.std(values, axis=0, ddof=1)


def print_errors(results):
    """Test errors per output, then the change by both terms, compared seed by seed."""
    seeds = len(results["both terms"])
    print(f"\nRMSE / sd on 3000 test modules, mean ± sd over {seeds} seeds; 100 labelled modules")
    print(" " * 14 + "".join(f"{name:>14}" for name in COLUMNS))
    for name, found in results.items():
        errors = over_seeds(found, "error")
        pairs = zip(errors.mean(axis=0), spread(errors), strict=True)
        print(f"{name:14}" + "".join(f" {mean:.3f} ± {sd:5.3f}" for mean, sd in pairs))
    print("(stopped early: data only, the epoch that is best on 1000 more labelled modules)\n")
    both = over_seeds(results["both terms"], "error")[:, -1]
    for name in ("data only", "stopped early"):
        change = 100 * (both / over_seeds(results[name], "error")[:, -1] - 1)
        print(
            f"Both terms against {name}: {change.mean():+.0f} ± {spread(change):.0f} % error, "
            f"lower in {np.sum(change < 0)} of {len(change)} seeds."
        )


def print_term_losses(results):
    """Term losses beside their floors: what they would be if every prediction were the label."""
    columns = [f"{rows} {term}" for rows in ("labelled", "test") for term in ("x", "z")]
    print("\nUnweighted term losses, mean over seeds, on the 100 labelled and the test modules")
    print(" " * 14 + "".join(f"{column + '_loss':>16}" for column in columns))
    rows = {"floor": (results["data only"], "floor")}
    rows |= {name: (found, "loss") for name, found in results.items()}
    for name, (found, kind) in rows.items():
        values = [over_seeds(found, f"{column}_{kind}").mean() for column in columns]
        print(f"{name:14}" + "".join(f"{value:16.5f}" for value in values))


# The picture


def draw(results, path):
    """Saves the figure: training, errors, and both term losses against their floors."""
    figure, axes = plt.subplots(2, 2, figsize=(12, 9), layout="constrained")
    draw_training(axes[0, 0], results)
    draw_errors(axes[0, 1], results)
    draw_term(axes[1, 0], results, "x")
    draw_term(axes[1, 1], results, "z")
    places = {axes[0, 1]: "outside upper center", axes[1, 1]: "outside lower center"}
    for axis, place in places.items():
        handles, labels = axis.get_legend_handles_labels()
        figure.legend(handles, labels, loc=place, ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_training(axis, results):
    """The data loss on validation modules over the training, and where early stopping ends."""
    for name, found in results.items():
        if name == "stopped early":
            continue
        curves = over_seeds(found, "curve")
        steps = STEPS * np.arange(1, curves.shape[1] + 1)
        low, high = curves.min(axis=0), curves.max(axis=0)
        axis.plot(steps, curves.mean(axis=0), color=COLOURS[name])
        axis.fill_between(steps, low, high, color=COLOURS[name], alpha=0.15, linewidth=0)
    for one in results["stopped early"]:
        best = np.argmin(one["curve"])
        axis.plot(STEPS * (best + 1), one["curve"][best], "o", color=COLOURS["stopped early"])
    axis.set(title="Validation data loss: mean and range over seeds")
    axis.set(xlabel="gradient step", ylabel="mean squared error / sd²", ylim=(0, None))


def draw_errors(axis, results):
    """Test error of every output: mean and sd over seeds."""
    places = np.arange(len(COLUMNS))
    for i, (name, found) in enumerate(results.items()):
        errors = over_seeds(found, "error")
        axis.errorbar(
            places + 0.13 * (i - 2),
            errors.mean(axis=0),
            spread(errors),
            fmt="o",
            color=COLOURS[name],
            label=name,
        )
    axis.set_xticks(places, COLUMNS)
    axis.set(title="Test error: mean ± sd over seeds", ylabel="RMSE / sd", ylim=(0, None))
    axis.grid(axis="y", alpha=0.3)


def draw_term(axis, results, term):
    """A term's loss on labelled (hollow) and on test modules (filled), with the floors."""
    styles = {"labelled": ("o", "white", ":"), "test": ("s", None, "--")}
    for rows, (marker, face, line) in styles.items():
        for i, (name, found) in enumerate(results.items()):
            values = over_seeds(found, f"{rows} {term}_loss")
            colour = COLOURS[name]
            axis.plot([i] * len(values), values, marker, color=colour, mfc=face or colour)
        axis.plot([], [], marker, color="black", mfc=face or "black", label=f"{rows} modules")
        floor = over_seeds(results["data only"], f"{rows} {term}_floor").mean()
        axis.axhline(floor, color="black", ls=line, lw=1, label=f"floor on {rows} modules")
    axis.set_xticks(range(len(results)), results)
    axis.set(title=f"Term {term}, every seed", ylabel=f"{term}_loss / sd²", yscale="log")


def save(model, path):
    """Saves the model with its physics, and shows that what is loaded again predicts the same."""
    model.save(path)
    reloaded = keras.saving.load_model(path)
    Z = np.random.default_rng(0).normal(size=(1000, 8)).astype("float32")
    served = [kp.strip_physics(m).predict(Z, verbose=0) for m in (model, reloaded)]
    print(f"\nModel: {path}, term weights {kp.get_term_weights(reloaded)},")
    print(f"loaded again and stripped, its predictions differ by {np.ptp(served, axis=0).max():g}")


def main():
    """Reads the options and runs it all."""
    default = Path(__file__).parent / "output"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40, help=f"of {STEPS} full-batch steps")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=default, help="folder of what it saves")
    parser.add_argument("--choose-weights", action="store_true", help="only compare weights")
    options = parser.parse_args()

    Z, x = pv.load_modules()
    if options.choose_weights:
        choose_weights(Z, x, options.epochs, options.seeds)
        return
    print(f"{len(Z)} modules: 100 labelled ones to train on, 1000 to validate, 3000 to test")
    results, model = train_all(Z, x, options.epochs, options.seeds)
    print_errors(results)
    print_term_losses(results)
    options.out.mkdir(parents=True, exist_ok=True)
    draw(results, options.out / "pv_module_parameters.png")
    save(model, options.out / "pv_module_parameters.keras")
    print(f"Saved in {options.out}: pv_module_parameters.png, pv_module_parameters.keras")


if __name__ == "__main__":
    main()
