"""ReplicaTuner: a KerasTuner search whose trials are replicas in one compiled program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from keras_physreg._utils.backend import needs_tensorflow
from keras_physreg._utils.errors import boolean, whole_number
from keras_physreg.executors.checks import checked_pool
from keras_physreg.replicas.arguments import checked_programs
from keras_physreg.tuner.hypermodel import PhysicsHyperModel
from keras_physreg.tuner.search import (
    arguments,
    checkpoints,
    cross_validation,
    failures,
    progress_lines,
    trial_logs,
)
from keras_physreg.tuner.search.ask_and_tell import AskAndTell, Hooks
from keras_physreg.tuner.search.description import describe_rows, describe_search
from keras_physreg.tuner.search.group_trainer import GroupTrainer
from keras_physreg.tuner.search.project import Project
from keras_physreg.tuner.search.search_state import SearchState
from keras_physreg.tuner.search.trial_result import TrialResult
from keras_physreg.tuner.search.trial_training import TrialTraining
from keras_physreg.tuner.search_report import SearchReport, search_report
from keras_physreg.tuner.setup_checks import check_whole_space


class ReplicaTuner(keras_tuner.Tuner):
    """KerasTuner tuner that trains its trials as replicas in one compiled program.

    It asks the oracle for up to `replicas` trials at once. Trials that differ only in the weights
    and ramps of terms are trained together by `ReplicaTrainer`. Trials with another model (other
    units, another learning rate) form another group. Programs are compiled once per model.

    With few labelled rows, give `cv`, and all rows to `search`, without `validation_data`. The
    executions of a trial are then trainings on splits of the rows, as in `sanity_sweep`. They are
    scored at one common epoch, the one with the smallest mean logarithm of the held-out loss. The
    exponential of that mean is the objective. Each model is also trained with all searched terms
    off, as a baseline. At its end, `search` prints `report()`: how sure it is that the best trial
    beats the baseline and the second best trial, and for how many epochs to train on all rows.

    Without `cv`, a trial's objective is the mean over its executions of the objective at each
    execution's best epoch, as with KerasTuner's own tuners. `trial.metrics` has every other log at
    these epochs, where it is finite. The trial's folder has `history.csv`, the logs of every epoch,
    and a checkpoint of the best execution at its best epoch: its weights, without the state of the
    optimizer.

    A trial whose `loss` or `val_loss` is not finite in some epoch is FAILED, and `trial.message`
    names the epoch; other trials are not affected. A model that cannot be built or trained is
    INVALID, and the oracle may retry it, as with KerasTuner. The error ends the search where all
    trials of the first round raise, or later at least three in a row. Fix the cause and start the
    search again: these trials run again.

    A search that was killed continues when it is started again with the same arguments and data. No
    trial is lost or trained twice, and the oracle proposes the same trials as without the
    interruption. The state is in one file, `replica_tuner.json`, and a trial is done once its
    `result.json` exists; KerasTuner's own files are written as well. After Ctrl-C, too, finished
    trials are kept. Other arguments or data are refused; `build` and samplers are not compared.
    Only one process at a time can use a project folder.

    Args:
        hypermodel: A `PhysicsHyperModel`.
        oracle: A KerasTuner oracle; without an objective it gets `hypermodel.objective`. A
            `RandomSearchOracle` or `BayesianOptimizationOracle` gives full speed; the latter
            proposes all trials of a round before it gets their results. A `GridSearchOracle` hands
            out two trials at once. A `HyperbandOracle` is refused, as its trials continue other
            trials. To KerasTuner a seed of 0 means no seed.
        replicas: Number of trials per round. The number of replicas is this times the executions.
        executions_per_trial: Trainings per trial; with `cv` per trial and split.
        seed: Execution `e` of every trial draws weights, dropout and the order of rows from
            `seed + e`. Each further split has new seeds, the same for every trial. `None`: one
            execution, from the weights that `build` gives (seed them there), in one row order.
        max_consecutive_failed_trials: Failures in a row that end the search. `None`: the oracle's
            number, if it differs from KerasTuner's default of 3, else no limit.
        engine: See `ReplicaTrainer`.
        replicas_per_program: See `ReplicaTrainer`.
        directory: Folder that contains the project folder; the working directory by default.
        project_name: Name of the project folder.
        tuner_id: Name of this tuner; trial `k` of a round runs under `<tuner_id>-<k>`.
        overwrite: Whether to delete the search in the project folder first. A folder that holds
            anything other than a search is not deleted.
        cv: How the labelled rows are split, as in scikit-learn. A number of folds: the rows are
            shuffled anew in each of `repeats`. A splitter, such as `GroupKFold()`. A list of pairs
            `(training rows, held-out rows)` of row numbers. `None`: no cross-validation.
        repeats: Number of shuffles, only with a number of folds; 4 by default.
        executor: Trains the replicas elsewhere; see `sanity_sweep`. Workers call `build`.
        workers: Number of workers of the executor; Dask tells it by itself.
        **others: Refused, such as `optimizer`, `loss` and `metrics`.

    Raises:
        RuntimeError: If KerasTuner's environment variables ask for a chief or a worker, or another
            process uses the project folder.
        TypeError: If an argument has a wrong type, or is not in this list.
        ValueError: If the objective depends directly on the weights, the oracle is not supported,
            or the project folder holds another search or damaged files.

    Example:
    >>> import keras, keras_tuner, numpy as np, tempfile, keras_physreg as kp
    >>> def build(hp):
    ...     z = keras.Input((2,))
    ...     x = keras.layers.Dense(2)(z)
    ...     balance = kp.PhysicsRegularization(lambda z, x: x - z, {"balance": 0.0})
    ...     model = kp.PhysicsModel(z, balance(z, x))
    ...     model.compile("sgd", "mse")
    ...     return model
    >>> hypermodel = kp.PhysicsHyperModel(build, {"balance": (1e-3, 10.0)})
    >>> oracle = keras_tuner.oracles.RandomSearchOracle(max_trials=4, seed=1)
    >>> tuner = kp.ReplicaTuner(
    ...     hypermodel, oracle, cv=4, repeats=1, directory=tempfile.mkdtemp())
    >>> z = np.random.default_rng(0).normal(size=(20, 2))
    >>> tuner.search(z, z, epochs=2, verbose=0)
    >>> [trial.status for trial in oracle.trials.values()]
    ['COMPLETED', 'COMPLETED', 'COMPLETED', 'COMPLETED']
    >>> report = tuner.report()
    >>> report.winner.trial_id == oracle.get_best_trials()[0].trial_id
    True
    >>> model = hypermodel.build(tuner.get_best_hyperparameters()[0])
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
        cv: Any = None,
        repeats: int | None = None,
        executor: Any = None,
        workers: int | None = None,
        **others: Any,
    ) -> None:
        needs_tensorflow("`ReplicaTuner`")
        arguments.check_nothing_else("ReplicaTuner", others, arguments.OVERRIDES)
        arguments.check_alone()
        arguments.check_hypermodel(hypermodel)
        objective = arguments.objective_of(oracle, hypermodel)
        self.replicas = whole_number("replicas", replicas)
        self.seeds = arguments.execution_seeds(seed, executions_per_trial)
        self.engine, self.replicas_per_program = checked_programs(engine, replicas_per_program)
        self._failure_limit = failures.failure_limit(oracle, max_consecutive_failed_trials)
        overwrite = boolean("overwrite", overwrite)
        self._pool = checked_pool(executor, workers)
        self.cv, self.repeats = cv, cross_validation.check_cv(cv, repeats)
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
            self.oracle.verbose = 0  # Otherwise it prints a table for every trial.
            check_whole_space(oracle.get_space(), hypermodel.hyperparameter_names)
            described = describe_search(oracle, hypermodel.spaces)
            self._state = SearchState(oracle, self._project, described)
            if self._project.exists():
                self.reload()

    def search(
        self,
        x: Any = None,
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
        groups: Any = None,
        points: Any = None,
        validation_points: Any = None,
        points_batch_size: Any = None,
        steps_per_epoch: int | None = None,
        **others: Any,
    ) -> None:
        """Runs all trials that are left.

        Args:
            x: Inputs, in memory: an array or a structure of arrays of shape `(rows, ...)`. `None`:
                on `points` alone, scored by the loss of a term that is not searched.
            y: Labels, likewise.
            validation_data: Tuple `(x, y)` or `(x, y, sample_weight)`; not with `cv`.
            sample_weight: Weights of the labels, of shape `(rows,)`.
            batch_size: Rows per batch; 32 by default.
            epochs: Number of epochs of every trial.
            validation_batch_size: Rows per batch of held-out rows; `batch_size` by default.
            shuffle: Whether to shuffle the rows before each epoch.
            callbacks: `TensorBoard` and `CSVLogger`, which get a trial's logs after its training.
                Each trial writes to `<trial>/execution<n>` beside their folder or file.
            verbose: 0 for silence, 2 for one line per round, `"auto"` or 1 for a progress bar, too.
            unlabelled: Inputs without labels, as in `ReplicaTrainer.fit`.
            unlabelled_batch_size: Unlabelled rows per step; by default as many as labelled ones.
            unlabelled_share: As in `PhysicsModel.fit`.
            groups: Group of each row, of shape `(rows,)`, for a `cv` that keeps groups together.
            points: Arrays or samplers by term, as in `ReplicaTrainer.fit`.
            validation_points: Arrays by term for `val_<term>_loss`, which may be the objective.
            points_batch_size: Points per step, as in `ReplicaTrainer.fit`.
            steps_per_epoch: Steps per epoch on points alone; 100 by default.
            **others: Refused.

        Raises:
            RuntimeError: If no trial completed, too many failed in a row, or another process uses
                the project folder.
            TypeError: If an argument has a wrong type, or replicas do not support it.
            ValueError: If data, callbacks, splits or objective are invalid, or the folder holds
                trials that were trained with other arguments or on other data.
            KeyboardInterrupt: After Ctrl-C; finished trials are kept.
        """
        arguments.check_nothing_else("ReplicaTuner.search", others, arguments.FIT_ARGUMENTS)
        training = arguments.training_arguments(epochs, batch_size, validation_batch_size, shuffle)
        training |= arguments.check_unlabelled(unlabelled, unlabelled_batch_size, unlabelled_share)
        training |= arguments.points_options(points, points_batch_size, x, steps_per_epoch)
        data = arguments.data(x, y, validation_data, sample_weight, unlabelled)
        data |= arguments.points(points=points, validation_points=validation_points)
        fit = {**data, **training, "verbose": 0 if verbose in (0, 2) else verbose}
        arguments.check_rows(data, self.oracle.objective, self.hypermodel.spaces)
        cross_validation.check_held_out(self.cv, data, groups, self.oracle.objective)
        trial_training = self._training(fit, groups, trial_logs.checked(callbacks))
        with self._project.locked():
            self._state.describe_training({**training, **describe_rows(data), "seeds": self.seeds})
            cross_validation.keep_settings(self._project, trial_training.splits)
            self.save()
            try:
                self.on_search_begin()
                trainer = GroupTrainer(self.hypermodel, trial_training, self._project)
                self._loop(trainer).run_all(self._failure_limit, quiet=verbose == 0)
                self.on_search_end()
            except KeyboardInterrupt:
                print(progress_lines.interrupted(self.oracle, self.project_dir))
                raise
        failures.check_completed(self.oracle)
        if self.cv is not None and verbose != 0:
            print(f"\n{self.report()}")

    def report(self) -> SearchReport:
        """Returns how sure it is that the best trial of a search by cross-validation is better.

        It is compared with the second best trial, and with all searched terms off.

        Returns:
            A `SearchReport`, to print. Its `recommended_epochs` is the number of epochs to train on
            all rows.

        Raises:
            ValueError: If the search did not use cross-validation, or no trial has completed.
        """
        settings = cross_validation.settings_of(self._project)
        name, project = self.oracle.objective.name, self._project
        return search_report(
            self.oracle,
            settings,
            self.hypermodel.schedules,
            result=lambda trial_id: TrialResult.load(project.trial_folder(trial_id), name),
            baseline=lambda key: TrialResult.load(project.baseline_folder(key), name),
        )

    def on_trial_end(self, trial: Any) -> None:
        """Reports the trial to the oracle; the search is saved after the whole round."""
        self._state.end(trial)

    def save(self) -> None:
        """Saves the search to its project folder."""
        self._state.save()
        super().save()

    def reload(self) -> None:
        """Loads the search in the project folder, to continue it."""
        self._state.restore()
        self.save()

    def load_model(self, trial: Any) -> keras.Model:
        """Returns the model of a completed trial, at the best epoch of its best execution."""
        model = self.hypermodel.build(trial.hyperparameters)
        checkpoints.load(model, self._project.trial_folder(trial.trial_id))
        return model

    def get_best_models(self, num_models: int = 1) -> list[keras.Model]:
        """Returns the models of the best completed trials, best first.

        With `cv` they were trained on the rows of one split. To train on all rows instead, see
        `report()`.

        Args:
            num_models: Maximum number of models.
        """
        return [self.load_model(trial) for trial in self._best("num_models", num_models)]

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[Any]:
        """Returns the hyperparameters of the best completed trials, best first.

        Args:
            num_trials: Maximum number of trials.
        """
        return [trial.hyperparameters for trial in self._best("num_trials", num_trials)]

    def _best(self, name: str, count: Any) -> list[Any]:
        # KerasTuner pads the list with failed trials.
        trials = self.oracle.get_best_trials(whole_number(name, count))
        return [trial for trial in trials if trial.status == TrialStatus.COMPLETED]

    def _training(self, fit: dict[str, Any], groups: Any, callbacks: list[Any]) -> TrialTraining:
        objective, splits = self.oracle.objective, None
        if self.cv is not None:
            splits = cross_validation.split_settings(
                self.cv, self.repeats, groups, self.seeds, objective, fit
            )
        return TrialTraining(
            fit=fit,
            objective=objective,
            seeds=self.seeds,
            engine=self.engine,
            replicas_per_program=self.replicas_per_program,
            callbacks=callbacks,
            splits=splits,
            pool=self._pool,
        )

    def _loop(self, trainer: GroupTrainer) -> AskAndTell:
        names = [f"{self.tuner_id}-{k}" for k in range(self.replicas)]
        hooks = Hooks(self.pre_create_trial, self.on_trial_begin, self.on_trial_end, self.save)
        return AskAndTell(self._state, trainer, names, self.hypermodel.hyperparameter_names, hooks)
