"""From the sanity sweep to the hyperparameter search, on PV modules with 100 labels.

The script of the guide "Tuning" (guides/tuning.md); the equation stands in pv_modules.py. The total
loss is

    data_loss(x, x_pred) + weight_x * x_loss(x, x_hat) + weight_z * z_loss(Z, Z_pred)

`sanity_sweep` finds the range of each weight, `ReplicaTuner` searches both weights within these
ranges, and `pareto_front` draws what there is to choose. All of it sees the 100 labelled rows
alone. Last, models are trained on all of these as each of the two recommends, beside one without
physics: only that comparison sees the 3000 test modules, which a user would not have.

Run: python examples/tune_weights.py [--out FOLDER]
"""

import argparse
import time
from pathlib import Path

import keras
import keras_tuner
import matplotlib as mpl
import numpy as np
import pv_modules as pv
from sanity_sweep import build_model

import keras_physreg as kp

mpl.use("Agg")

TERMS = ("x", "z")
FRESH_SEED = 100_000  # the first of the seeds of the comparison

# The sweep


def sweep(training, options):
    """Raises one weight after the other, the other one at 0."""
    return kp.sanity_sweep(
        build_model(),
        **training,
        weights=np.geomspace(1e-4, 1e3, 8),
        cv=5,
        repeats=options.repeats,
        verbose=0,
    )


def ranges(result):
    """What the search gets: the sweep, or broad ranges where it found none for any term."""
    if any(verdict.search_range for verdict in result.verdicts.values()):
        return result
    print("The sweep found no range worth tuning: the search takes broad ones.")
    return dict.fromkeys(TERMS, (1e-2, 1e3))


# The search


def make_oracle(kind, trials):
    """The oracle that proposes weights; its objective is that of the hypermodel."""
    if kind == "bayesian":
        return keras_tuner.oracles.BayesianOptimizationOracle(max_trials=trials, seed=1)
    return keras_tuner.oracles.RandomSearchOracle(max_trials=trials, seed=1)


def search(weights, training, options):
    """Searches the weights of both terms together."""
    tuner = kp.ReplicaTuner(
        kp.PhysicsHyperModel(lambda hp: build_model(), weights=weights),
        make_oracle(options.oracle, options.trials),
        cv=5,
        repeats=options.repeats,
        directory=options.out,
        project_name="tune_weights",
        overwrite=not options.resume,
    )
    tuner.search(**training, verbose=2)
    return tuner


# The comparison


def settings_of(result, report):
    """What is compared: weights and epochs, for training on all labelled rows."""
    off = dict.fromkeys(TERMS, 0.0)
    found = report.settings.epochs_on_all_rows(report.baseline.epoch)
    return {
        "data only": (off, found),
        "by the sweep": (result.recommended_weights(), result.recommended_epochs),
        "by the search": (report.recommended.terms, report.recommended_epochs),
    }


def compare(settings, training, data, seeds):
    """Trains each setting on all labelled rows; returns test errors, `(settings, seeds)`."""
    model = build_model()
    errors = []
    for weights, epochs in settings.values():
        trainer = kp.ReplicaTrainer(
            model,
            {term: [weights[term]] * seeds for term in TERMS},
            seeds=[FRESH_SEED + seed for seed in range(seeds)],
        )
        trainer.fit(**{**training, "epochs": epochs}, verbose=0)
        errors.append([test_error(model, trainer, replica, data) for replica in range(seeds)])
    return np.array(errors)


def test_error(model, trainer, replica, data):
    """RMSE / sd on test modules, mean of the five parameters, by the model without physics."""
    trainer.load_replica(replica, "last")
    Z, x = data.test
    x_pred = keras.ops.convert_to_numpy(kp.strip_physics(model)(Z))
    return np.sqrt(np.mean((x_pred - x) ** 2, axis=0)).mean()


def print_comparison(settings, errors):
    """Test errors, and the change against no physics, compared seed by seed."""
    print(f"\nRMSE / sd on 3000 test modules, {errors.shape[1]} fresh seeds, 100 labelled modules")
    print(
        f"{'recommended':16}{'weight x':>10}{'weight z':>10}{'epochs':>8}{'mean':>9}{'sd':>8}"
        f"{'change':>9}  lower in"
    )
    for (name, (weights, epochs)), row in zip(settings.items(), errors, strict=True):
        change = row / errors[0] - 1
        sd = np.std(row, ddof=1) if len(row) > 1 else np.nan
        print(
            f"{name:16}{weights['x']:10.3g}{weights['z']:10.3g}{epochs:8}{row.mean():9.4f}{sd:8.4f}"
            f"{change.mean():+9.1%}  {np.sum(change < 0)} of {len(row)} seeds"
        )


# All of it


def options():
    """Reads the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=300, help="of four steps each")
    parser.add_argument("--repeats", type=int, default=4, help="shuffles of the five folds")
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--seeds", type=int, default=8, help="of the comparison")
    parser.add_argument("--oracle", default="random", choices=["random", "bayesian"])
    parser.add_argument("--resume", action="store_true", help="go on with a search that was ended")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent / "output",
        help="folder of the search and the figure",
    )
    return parser.parse_args()


def main():
    """Sweeps, searches, compares and draws."""
    chosen = options()
    data = pv.split(*pv.load_modules(), labelled=100, seed=0)
    Z, x = data.labelled
    training = {"x": Z, "y": x, "epochs": chosen.epochs, "batch_size": 25}
    begin = time.perf_counter()
    result = sweep(training, chosen)
    print(f"{result.summary()}\n\nThe sweep took {time.perf_counter() - begin:.0f} s.\n")

    begin = time.perf_counter()
    tuner = search(ranges(result), training, chosen)
    print(f"\nThe search took {time.perf_counter() - begin:.0f} s.\n")
    front = kp.pareto_front(tuner, "z")
    print(front)

    settings = settings_of(result, tuner.report())
    print_comparison(settings, compare(settings, training, data, chosen.seeds))

    front.plot().savefig(chosen.out / "tune_weights.png", dpi=150)
    print(f"\nSaved in {chosen.out}: tune_weights.png and the folder tune_weights of the search")


if __name__ == "__main__":
    main()
