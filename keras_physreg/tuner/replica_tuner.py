"""ReplicaTuner: KerasTuner's search, with trials that are replicas in one compiled program."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from keras_physreg._utils.errors import boolean, whole_number
from keras_physreg.replicas.trainer import checked_programs
from keras_physreg.tuner.hypermodel import PhysicsHyperModel
from keras_physreg.tuner.search import arguments, checkpoints, failures, progress_lines, trial_logs
from keras_physreg.tuner.search.ask_and_tell import AskAndTell, Hooks
from keras_physreg.tuner.search.group_trainer import GroupTrainer, Recipe
from keras_physreg.tuner.search.project import Project
from keras_physreg.tuner.search.search_state import SearchState
from keras_physreg.tuner.setup_checks import check_whole_space


class ReplicaTuner(keras_tuner.Tuner):
    """KerasTuner tuner whose trials are replicas in one compiled program.

    It asks the oracle for up to `replicas` trials at once. Those that differ only in the
    hyperparameters of `hypermodel`, the weights and ramps of terms, are trained together by
    `ReplicaTrainer`; a trial with another model (other units, another learning rate) is a group of
    its own. Programs are compiled once per model, and used again for later trials.

    A trial's objective is, as with KerasTuner's own tuners, the mean over its executions of the
    objective at the execution's best epoch; `trial.metrics` has every other log at these epochs,
    where it is finite. Its folder has the checkpoint of the best execution (weights; the optimizer
    begins anew) and `history.csv` with the logs of every epoch.

    A trial whose `loss` or `val_loss` is not finite in some epoch is FAILED, alone, and
    `trial.message` says when. A model that cannot be built or trained is INVALID, for the oracle
    to retry, as with KerasTuner; where all trials of the first round raise, or three in a row that
    are all of a round, the error ends the search, and they are run again when it is mended.

    The state of the search is in one file, which is written at once, and a trial is done when its
    `result.json` is there: a search that was killed goes on where it was when it is started again
    with the same arguments, without loss, doubled or forgotten trials. KerasTuner's own files are
    written as well. After Ctrl-C what was finished is kept, too.

    Args:
        hypermodel: A `PhysicsHyperModel`.
        oracle: A KerasTuner oracle. Without an objective it gets `hypermodel.objective`; 0 for its
            seed means none to KerasTuner. At replica speed: `RandomSearchOracle`,
            `BayesianOptimizationOracle` (which proposes all trials of a round before it learns of
            any). A `GridSearchOracle` hands out two trials at once. A `HyperbandOracle` is refused:
            its trials go on from other trials' weights.
        replicas: Trials that are asked for at once; times executions there are as many replicas.
        executions_per_trial: Trainings of each trial.
        seed: Execution `e` of every trial draws weights, dropout and the order of rows from
            `seed + e`, so that trials differ in nothing else. `None`: one execution, which starts
            from the weights that `build` gives (seed them there) and sees rows in one order.
        max_consecutive_failed_trials: Failures in a row that end the search; `None` for no limit.
            The oracle's own number counts if it is not KerasTuner's default, 3.
        engine: See `ReplicaTrainer`.
        replicas_per_program: See `ReplicaTrainer`.
        directory: Folder of the project's folder; the working directory by default.
        project_name: Name of the project's folder.
        tuner_id: Name of this tuner; trial `k` of a round runs under `<tuner_id>-<k>`.
        overwrite: Whether to delete the project's folder first.
        **others: Refused, such as `optimizer`, `loss` and `metrics`.

    Raises:
        RuntimeError: If KerasTuner's environment variables ask for a chief or a worker.
        TypeError: If an argument has a type that cannot serve, or is none of these.
        ValueError: If the objective is one that the weights decide, the oracle cannot be served,
            or the project's folder was left by another search.

    Example:
    >>> import keras, keras_tuner, tempfile, keras_physreg as kp
    >>> def build(hp):
    ...     z = keras.Input((2,))
    ...     x = keras.layers.Dense(2)(z)
    ...     balance = kp.PhysicsRegularization(lambda z, x: x - z, {"balance": 0.0})
    ...     model = kp.PhysicsModel(z, balance(z, x))
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> hypermodel = kp.PhysicsHyperModel(build, {"balance": (1e-3, 10.0)})
    >>> oracle = keras_tuner.oracles.RandomSearchOracle(max_trials=4, seed=1)
    >>> tuner = kp.ReplicaTuner(hypermodel, oracle, directory=tempfile.mkdtemp())
    >>> data = keras.ops.ones((8, 2))
    >>> tuner.search(data, data, validation_data=(data, data), epochs=2, verbose=0)
    >>> [trial.status for trial in oracle.trials.values()]
    ['COMPLETED', 'COMPLETED', 'COMPLETED', 'COMPLETED']
    >>> model = tuner.get_best_models()[0]
    """

    def __init__(
        self,
        hypermodel: PhysicsHyperModel,
        oracle: keras_tuner.Oracle,
        replicas: int = 16,
        executions_per_trial: int = 1,
        seed: int | None = 0,
        max_consecutive_failed_trials: int | None = None,
        engine: str = "auto",
        replicas_per_program: int | None = None,
        directory: str | Path | None = None,
        project_name: str | None = None,
        tuner_id: str | None = None,
        overwrite: bool = False,
        **others: Any,
    ) -> None:
        arguments.check_nothing_else("ReplicaTuner", others, arguments.OVERRIDES)
        arguments.check_alone()
        arguments.check_hypermodel(hypermodel)
        objective = arguments.objective_of(oracle, hypermodel)
        self.replicas = whole_number("replicas", replicas)
        self.seeds = arguments.execution_seeds(seed, executions_per_trial)
        self.engine, self.replicas_per_program = checked_programs(engine, replicas_per_program)
        self._failure_limit = failures.failure_limit(oracle, max_consecutive_failed_trials)
        overwrite = boolean("overwrite", overwrite)
        self._project = Project(Path(directory or ".") / (project_name or "untitled_project"))
        with self._project.locked():
            self._project.open(overwrite)
            oracle.objective = objective
            super().__init__(
                oracle,
                hypermodel,
                directory=str(directory or "."),
                project_name=project_name,
                tuner_id=tuner_id,
                executions_per_trial=executions_per_trial,
            )
            self.oracle.verbose = 0  # It would print a table for every trial.
            check_whole_space(oracle.get_space(), hypermodel.hyperparameter_names)
            self._state = SearchState(oracle, self._project, self._description())
            if self._project.exists():
                self.reload()

    def search(
        self,
        x: Any,
        y: Any = None,
        validation_data: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        validation_batch_size: int | None = None,
        shuffle: bool = True,
        callbacks: Any = None,
        verbose: str | int = "auto",
        unlabelled: Any = None,
        unlabelled_batch_size: int | None = None,
        unlabelled_share: float | None = None,
        **others: Any,
    ) -> None:
        """Runs all trials that are left.

        Args:
            x: Inputs, in memory: an array or a structure of arrays of shape `(rows, ...)`.
            y: Labels, likewise.
            validation_data: Tuple `(x, y)` or `(x, y, sample_weight)`.
            sample_weight: Trust in the labels, of shape `(rows,)`.
            batch_size: Rows in a batch; 32 by default.
            epochs: Number of epochs of every trial.
            validation_batch_size: Rows in a batch of validation data; `batch_size` by default.
            shuffle: Whether to shuffle the rows before each epoch.
            callbacks: `TensorBoard` and `CSVLogger`, told once a trial is trained; each trial
                writes to `<trial>/execution<n>` beside what they were given.
            verbose: 0: silent; 2: a line per round of trials; `"auto"` or 1: a progress bar,
                too.
            unlabelled: Inputs without labels, in memory, as in `PhysicsModel.fit`.
            unlabelled_batch_size: Unlabelled rows a step; by default as many as labelled ones.
            unlabelled_share: As in `PhysicsModel.fit`.
            **others: Refused.

        Raises:
            RuntimeError: If no trial completed, or too many failed in a row.
            TypeError: If an argument of `fit` is given that replicas do not have.
            ValueError: If data, callbacks or objective cannot serve, or the folder holds trials
                that were trained otherwise.
            KeyboardInterrupt: After Ctrl-C; what was finished is kept.
        """
        arguments.check_nothing_else("ReplicaTuner.search", others, arguments.FIT_ARGUMENTS)
        arguments.check_validation(validation_data)
        callbacks = trial_logs.checked(callbacks)
        training = {
            "epochs": whole_number("epochs", epochs),
            "batch_size": whole_number("batch_size", batch_size, optional=True),
            "validation_batch_size": whole_number(
                "validation_batch_size", validation_batch_size, optional=True
            ),
            "shuffle": boolean("shuffle", shuffle),
            **arguments.check_unlabelled(unlabelled, unlabelled_batch_size, unlabelled_share),
        }
        rows = {"rows": _rows(x), "validation_rows": _rows(validation_data)}
        if unlabelled is not None:
            rows["unlabelled_rows"] = _rows(unlabelled)
        data = {
            "x": x,
            "y": y,
            "validation_data": validation_data,
            "sample_weight": sample_weight,
            "unlabelled": unlabelled,
        }
        fit = {**data, **training, "verbose": 0 if verbose in (0, 2) else verbose}
        trainer = GroupTrainer(self.hypermodel, self._recipe(fit, callbacks), self._trial_folder)
        with self._project.locked():
            self._state.describe_training({**training, **rows, "seeds": self.seeds})
            self.save()
            try:
                self._search(trainer, verbose)
            except KeyboardInterrupt:
                print(progress_lines.interrupted(self.oracle, self.project_dir))
                raise
        failures.check_completed(self.oracle)

    def on_trial_end(self, trial: Any) -> None:
        """Tells the oracle; the search is saved once the whole round is told."""
        self._state.end(trial)

    def save(self) -> None:
        """Saves the search to its project folder."""
        self._state.save()
        super().save()

    def reload(self) -> None:
        """Goes on with the search in the project folder."""
        self._state.restore()
        self.save()

    def load_model(self, trial: Any) -> keras.Model:
        """Returns the model of a completed trial, at the best epoch of its best execution."""
        model = self.hypermodel.build(trial.hyperparameters)
        checkpoints.load(model, self._trial_folder(trial.trial_id))
        return model

    def get_best_models(self, num_models: int = 1) -> list[keras.Model]:
        """Returns the models of the best completed trials, best first.

        Args:
            num_models: How many; there are fewer where fewer trials completed.
        """
        best = self._best("num_models", num_models)
        return [self.load_model(trial) for trial in best]

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[Any]:
        """Returns the hyperparameters of the best completed trials, best first.

        Args:
            num_trials: How many; there are fewer where fewer trials completed.
        """
        return [trial.hyperparameters for trial in self._best("num_trials", num_trials)]

    def _best(self, name: str, count: Any) -> list[Any]:
        # KerasTuner fills up with trials that failed.
        trials = self.oracle.get_best_trials(whole_number(name, count))
        return [trial for trial in trials if trial.status == TrialStatus.COMPLETED]

    def _description(self) -> dict[str, Any]:
        """Returns what the search is, apart from how its trials are trained."""
        return {
            "search_space": _named(self.oracle.get_space()),
            "terms": {space.term: repr(space) for space in self.hypermodel.spaces},
            "objective": str(self.oracle.objective),
            "oracle": type(self.oracle).__name__,
        }

    def _recipe(self, fit: dict[str, Any], callbacks: list[Any]) -> Recipe:
        return Recipe(
            fit=fit,
            objective=self.oracle.objective,
            seeds=self.seeds,
            engine=self.engine,
            replicas_per_program=self.replicas_per_program,
            callbacks=callbacks,
        )

    def _search(self, trainer: GroupTrainer, verbose: str | int) -> None:
        self.on_search_begin()
        loop = self._loop(trainer)
        trials = loop.ask()
        if not trials and verbose != 0:
            print(progress_lines.nothing_left(self.oracle, self.project_dir))
        while trials:
            begin, ended = time.perf_counter(), len(self.oracle.end_order)
            loop.run(trials)
            self.save()
            if verbose != 0:
                print(progress_lines.round_done(self.oracle, trials, time.perf_counter() - begin))
            failures.check_run(self.oracle, self._failure_limit, ended)
            trials = loop.ask()
        self.on_search_end()

    def _loop(self, trainer: GroupTrainer) -> AskAndTell:
        names = [f"{self.tuner_id}-{k}" for k in range(self.replicas)]
        hooks = Hooks(self.pre_create_trial, self.on_trial_begin, self.on_trial_end, self.save)
        physics = self.hypermodel.hyperparameter_names
        return AskAndTell(self._state, trainer, names, physics, hooks)

    def _trial_folder(self, trial_id: str) -> Path:
        return Path(self.get_trial_dir(trial_id))


def _named(space: Any) -> dict[str, Any]:
    """Returns the hyperparameters of a space by name, with their conditions."""
    named: dict[str, Any] = {}
    for config in space.get_config()["space"]:
        named.setdefault(config["config"]["name"], []).append(config)
    return named


def _rows(data: Any) -> int | None:
    shapes = [array.shape for array in keras.tree.flatten(data) if hasattr(array, "shape")]
    return int(shapes[0][0]) if shapes and len(shapes[0]) else None
