"""What unlabelled datasheets of PV modules are worth, beside 50 to 400 labelled modules.

The script of the guide "Unlabelled data" (guides/unlabelled_data.md); the equation stands in
pv_modules.py. The total loss is

    data_loss(x, x_pred) + weight * x_loss(x, x_hat) + weight * z_loss(Z, Z_pred)

Term x compares with the label; term z needs none. A draw picks the modules and a seed the initial
weights; `ReplicaTrainer` trains all seeds of a setting in compiled programs. Every training is read
at its best epoch by the data loss on 1000 validation modules, the one without physics too. The
weight was chosen on validation modules, by powers of ten: see `--choose-weights`.

Run: python examples/unlabelled_modules.py [--out FOLDER]
"""

import argparse
import time
from pathlib import Path

import keras
import matplotlib as mpl
import numpy as np
import pv_modules as pv

import keras_physreg as kp

mpl.use("Agg")
import matplotlib.pyplot as plt

LABELLED = (50, 100, 200, 400)
UNLABELLED = (0, 300, 1000, 3000)
WEIGHT = 100.0  # of both terms
STEPS = 20  # per epoch, each on all labelled modules
BATCH = 300  # unlabelled modules per step
COLOURS = dict(
    zip((None, *UNLABELLED), ("#444444", "#e69f00", "#56b4e9", "#0072b2", "#009e73"), strict=True)
)

# The model


def build_model(steps):
    """A small network, and one layer that brings in the physics; both terms off."""
    Z = keras.Input((8,))
    hidden = keras.layers.Dense(64, activation="tanh")(Z)
    hidden = keras.layers.Dense(64, activation="tanh")(hidden)
    x_pred = keras.layers.Dense(5)(hidden)
    terms = [
        kp.PhysicsTerm("x", reference="target", components=[0, 1], weight=0.0),
        kp.PhysicsTerm("z", reference="input", components=[0, 1, 2, 3], weight=0.0),
    ]
    model = kp.PhysicsModel(Z, kp.PhysicsRegularization(pv.calc_reg_terms, terms)(Z, x_pred))
    learning_rate = keras.optimizers.schedules.CosineDecay(5e-3, steps)
    model.compile(keras.optimizers.Adam(learning_rate), loss="mse")
    return model


# The training


def train(data, weights, seeds, epochs):
    """Trains a replica for every weight of both terms and every seed.

    Returns:
        The errors on validation and on test modules: RMSE / sd, the mean of the 5 outputs, each of
        shape `(weights, seeds)`.
    """
    model = build_model(epochs * STEPS)
    both = np.repeat(weights, seeds)
    trainer = kp.ReplicaTrainer(model, {"x": both, "z": both}, list(range(seeds)) * len(weights))
    Z, x = data.labelled
    unlabelled = data.unlabelled if len(data.unlabelled) else None
    trainer.fit(
        # An epoch of many steps, each on the whole of the labelled modules.
        np.tile(Z, (STEPS, 1)),
        np.tile(x, (STEPS, 1)),
        batch_size=len(Z),
        unlabelled=unlabelled,
        unlabelled_batch_size=None if unlabelled is None else BATCH,
        validation_data=data.validation,
        validation_batch_size=1000,
        epochs=epochs,
        shuffle=False,
        verbose=0,
    )
    errors = []
    for replica in range(len(both)):
        trainer.load_replica(replica, "best")
        errors.append([rmse(model, *rows) for rows in (data.validation, data.test)])
    return np.array(errors).T.reshape(2, len(weights), seeds)


def rmse(model, Z, x):
    """Error in units of each output's sd, the mean of the 5 outputs."""
    x_pred = keras.ops.convert_to_numpy(kp.strip_physics(model)(Z))
    return np.sqrt(np.mean((x_pred - x) ** 2, axis=0)).mean()


def train_all(Z, x, epochs, seeds, draws):
    """Trains every setting; returns the test errors, `(draws * seeds,)`, of each.

    The keys are `(labelled, unlabelled)` modules; `(labelled, None)` is without physics.
    """
    results = {}
    for labelled in LABELLED:
        for unlabelled in UNLABELLED:
            for draw in range(draws):
                start = time.perf_counter()
                data = pv.split(Z, x, labelled, unlabelled, seed=draw)
                weights = [WEIGHT] if unlabelled else [WEIGHT, 0.0]
                errors = train(data, weights, seeds, epochs)[1]
                for key, found in zip((unlabelled, None), errors, strict=False):
                    results.setdefault((labelled, key), []).extend(found)
                line = f"{labelled} labelled, {unlabelled} unlabelled, draw {draw + 1}/{draws}"
                print(f"{line}: {time.perf_counter() - start:.1f} s", flush=True)
    return {key: np.array(found) for key, found in results.items()}


def choose_weights(Z, x, epochs, seeds):
    """Prints the error on validation modules for one weight after the other."""
    weights = (0.1, 1.0, 10.0, 100.0, 1000.0)
    print("Validation RMSE / sd, mean of the 5 outputs and over seeds; 100 labelled modules")
    print(f"{'unlabelled':>12}" + "".join(f"{f'weight {w:g}':>14}" for w in weights))
    for unlabelled in (0, 1000):
        data = pv.split(Z, x, labelled=100, unlabelled=unlabelled, seed=0)
        errors = train(data, weights, seeds, epochs)[0]
        pairs = zip(errors.mean(axis=1), spread(errors), strict=True)
        print(f"{unlabelled:12}" + "".join(f"{f'{m:.3f} ± {s:.3f}':>14}" for m, s in pairs))


# The table and the picture


def spread(errors):
    """Standard deviation over the last axis; a single value has none."""
    return np.std(errors, axis=-1, ddof=1) if np.shape(errors)[-1] > 1 else 0 * errors[..., 0]


def name_of(unlabelled):
    """What a setting is called."""
    return "data only" if unlabelled is None else f"{unlabelled} unlabelled"


def print_table(results):
    """Test errors: one row for each number of unlabelled modules."""
    count = len(results[LABELLED[0], 0])
    print(
        f"\nRMSE / sd on 3000 test modules, mean of the 5 outputs, mean ± sd of {count} trainings"
    )
    print(f"{'labelled modules':18}" + "".join(f"{labelled:>16}" for labelled in LABELLED))
    for unlabelled in (None, *UNLABELLED):
        found = [results[labelled, unlabelled] for labelled in LABELLED]
        cells = [f"{errors.mean():.3f} ± {spread(errors):.3f}" for errors in found]
        print(f"{name_of(unlabelled):18}" + "".join(f"{cell:>16}" for cell in cells))
    for labelled in LABELLED:
        most, none, bare = (results[labelled, u] for u in (UNLABELLED[-1], 0, None))
        print(
            f"{labelled} labels, {UNLABELLED[-1]} unlabelled modules: "
            f"{100 * (most / none - 1).mean():+.0f} % error against the terms on the labelled "
            f"modules alone (lower in {np.sum(most < none)} of {count} trainings), "
            f"{100 * (most / bare - 1).mean():+.0f} % against data only."
        )


def draw_curves(results, path):
    """Saves the learning curves: error against labels, one line per number of unlabelled rows."""
    figure, axis = plt.subplots(figsize=(8, 5.5), layout="constrained")
    for unlabelled in (None, *UNLABELLED):
        colour = COLOURS[unlabelled]
        found = np.array([results[labelled, unlabelled] for labelled in LABELLED])
        mean, sd = found.mean(axis=1), spread(found)
        style = "--" if unlabelled is None else "-"
        axis.plot(LABELLED, mean, "o" + style, color=colour, label=name_of(unlabelled))
        axis.fill_between(LABELLED, mean - sd, mean + sd, color=colour, alpha=0.15, linewidth=0)
    axis.set(xscale="log", xlabel="labelled modules", ylabel="test RMSE / sd, mean of 5 outputs")
    axis.set_xticks(LABELLED, [str(labelled) for labelled in LABELLED])
    axis.minorticks_off()
    axis.set_ylim(0, None)
    axis.set_title("Single-diode parameters from datasheets: mean ± sd over trainings")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, title="modules beside the labelled ones")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main():
    """Reads the options and runs it all."""
    default = Path(__file__).parent / "output"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=100, help=f"of {STEPS} steps each")
    parser.add_argument("--seeds", type=int, default=4, help="initial weights")
    parser.add_argument("--draws", type=int, default=1, help="of the modules")
    parser.add_argument("--out", type=Path, default=default, help="folder of the figure")
    parser.add_argument("--choose-weights", action="store_true", help="only compare weights")
    options = parser.parse_args()

    Z, x = pv.load_modules()
    if options.choose_weights:
        choose_weights(Z, x, options.epochs, options.seeds)
        return
    results = train_all(Z, x, options.epochs, options.seeds, options.draws)
    print_table(results)
    draw_curves(results, options.out / "unlabelled_modules.png")
    print(f"\nSaved in {options.out}: unlabelled_modules.png")


if __name__ == "__main__":
    main()
