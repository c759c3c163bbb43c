"""Replicas with rows of their own are what `fit` gives on these rows."""

import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.replicas.row_sets import row_sets
from keras_physreg.unlabelled.row_order import row_order
from tests.ctrl_c import told_of_every_epoch
from tests.replicas.test_equality import assert_equal, fit_alone
from tests.sweep import models

N, EPOCHS, BATCH, HELD_OUT_BATCH = 20, 3, 4, 3
TRUST = np.linspace(0.2, 2.0, N).astype("float32")
WEIGHTS = {"x": [0.5, 0.0, 1.0], "z": [1e-3, 2.0, 0.5]}
SEEDS = [5, 6, 5]
ROWS = np.random.default_rng(1).permutation(N)
# Two sizes of held-out parts, with other numbers of full batches and other rests.
TRAIN = [ROWS[:13], ROWS[7:], ROWS[::-1][:13]]
HELD_OUT = [ROWS[13:], ROWS[:5], ROWS[:6]]


def build():
    return models.mlp(metrics=["mae"])


def trained(seeds=None, engine="auto", build=build, data=models.mlp_data, **fit):
    trainer = kp.ReplicaTrainer(build(), WEIGHTS, seeds, engine=engine)
    given = {"rows": TRAIN, "validation_rows": HELD_OUT, "sample_weight": TRUST}
    given |= {"batch_size": BATCH, "validation_batch_size": HELD_OUT_BATCH, "epochs": EPOCHS}
    return trainer, trainer.fit(*data(), verbose=0, **(given | fit))


def alone(trainer, replica, rows, held_out, orders=None, build=build, data=models.mlp_data, **fit):
    """What `fit` gives on a replica's rows, from its start."""
    trainer.load_replica(replica, "initial")
    start = trainer.model.get_weights()
    z, x = data()
    one = {term: values[replica] for term, values in WEIGHTS.items()}
    given = {"batch_size": BATCH, "validation_batch_size": HELD_OUT_BATCH, "epochs": EPOCHS}
    given |= {"validation_data": (z[held_out], x[held_out], TRUST[held_out])}
    sets = [z[rows], x[rows], TRUST[rows]]
    if orders is None:
        sets, given = sets[:2], given | {"sample_weight": TRUST[rows]}
        return fit_alone(build, start, one, sets, **given, **fit)[1]
    model, logs = build(), []
    model.set_weights(start)
    kp.set_term_weights(model, one)
    for order in orders:
        x_, y_, w_ = (part[order] for part in sets)
        once = given | {"epochs": 1, "sample_weight": w_, "shuffle": False, "verbose": 0} | fit
        logs.append(model.fit(x_, y_, **once).history)
    return {key: np.concatenate([log[key] for log in logs]) for key in logs[0]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "compared"), [("stacked", (0, 1, 2)), ("in-turn", (1,)), ("sequential", (1,))]
)
def test_replicas_equal_fit_on_their_rows(engine, compared, quick):
    trainer, history = trained(engine=engine, shuffle=False)
    assert history.engine.startswith(engine)
    assert list(history.left_out) == [-1, -1, -1]
    for replica in compared:
        assert_equal(history, replica, alone(trainer, replica, TRAIN[replica], HELD_OUT[replica]))


@pytest.mark.slow
def test_shuffled_by_seed(quick):
    trainer, history = trained(SEEDS)
    orders = [row_order(SEEDS[1], epoch, 13) for epoch in range(EPOCHS)]
    assert_equal(history, 1, alone(trainer, 1, TRAIN[1], HELD_OUT[1], orders))


@pytest.mark.slow
def test_by_xla_on_structures_of_arrays():
    """Two programs, each with a replica of its own size of held-out rows."""
    given = {"build": models.multi_input, "data": models.multi_input_data, "sample_weight": None}
    trainer, history = trained(shuffle=False, **given)
    z, x = models.multi_input_data()
    trainer.load_replica(1, "initial")
    start, model = trainer.model.get_weights(), models.multi_input()
    model.set_weights(start)
    kp.set_term_weights(model, {term: values[1] for term, values in WEIGHTS.items()})
    parts = [({k: v[rows] for k, v in z.items()}, x[rows]) for rows in (TRAIN[1], HELD_OUT[1])]
    logs = model.fit(
        *parts[0],
        validation_data=parts[1],
        batch_size=BATCH,
        validation_batch_size=HELD_OUT_BATCH,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
    ).history
    assert_equal(history, 1, logs)


@pytest.mark.slow
def test_batch_normalization_sees_the_rows_of_its_replica(quick):
    trainer, history = trained(build=models.norm, shuffle=False)
    logs = alone(trainer, 1, TRAIN[1], HELD_OUT[1], build=models.norm)
    assert_equal(history, 1, logs)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["stacked", "sequential"])
def test_unlabelled_rows_beside(engine, quick):
    more = {"unlabelled": models.mlp_data(13, 1)[0], "unlabelled_batch_size": 5}
    more |= {"unlabelled_share": 0.7, "shuffle": False}
    trainer, history = trained(engine=engine, **more)
    one = {term: values[1] for term, values in WEIGHTS.items()}
    model, (z, x) = build(), models.mlp_data()
    trainer.load_replica(1, "initial")
    model.set_weights(trainer.model.get_weights())
    kp.set_term_weights(model, one)
    logs = model.fit(
        z[TRAIN[1]],
        x[TRAIN[1]],
        sample_weight=TRUST[TRAIN[1]],
        validation_data=tuple(part[HELD_OUT[1]] for part in (z, x, TRUST)),
        batch_size=BATCH,
        validation_batch_size=HELD_OUT_BATCH,
        epochs=EPOCHS,
        verbose=0,
        **more,
    ).history
    assert_equal(history, 1, logs)


@pytest.mark.slow
def test_one_row_more_is_left_out_by_seed(quick):
    rows = [TRAIN[0], ROWS[6:], ROWS[6:]]
    held_out = [HELD_OUT[0], ROWS[:6], ROWS[:6]]
    trainer, history = trained([5, 6, 7], rows=rows, validation_rows=held_out)
    assert trainer.compiles == 1
    assert history.left_out[0] == -1
    assert history.left_out[1] in ROWS[6:]
    assert history.left_out[1] != history.left_out[2]
    kept = ROWS[6:][ROWS[6:] != history.left_out[1]]
    orders = [row_order(6, epoch, 13) for epoch in range(EPOCHS)]
    assert_equal(history, 1, alone(trainer, 1, kept, held_out[1], orders))


@pytest.mark.slow
def test_other_sizes_train_in_programs_of_their_own(quick):
    rows, held_out = [ROWS[:13], ROWS[:5], ROWS[:8]], [ROWS[13:], ROWS[5:], ROWS[8:]]
    trainer, history = trained(rows=rows, validation_rows=held_out, shuffle=False)
    assert trainer.compiles == 3
    for replica in (1, 2):  # The first has the sizes of the other tests.
        logs = alone(trainer, replica, rows[replica], held_out[replica])
        assert_equal(history, replica, logs)
    monitored = history.history["val_data_loss"]
    assert list(history.best_epoch) == list(monitored.argmin(axis=0))


@pytest.mark.slow
def test_few_programs_are_kept_at_once(quick, monkeypatch):
    rows, held_out = [ROWS[:13], ROWS[:5], ROWS[:8]], [ROWS[13:], ROWS[5:], ROWS[8:]]
    monkeypatch.setattr("keras_physreg.replicas.compiled.MAX_SPECS", 2)
    trainer, first = trained(rows=rows, validation_rows=held_out, shuffle=False)
    few = {term: values[2:] for term, values in WEIGHTS.items()}
    trainer.refit(few, None, 0, rows[2:], held_out[2:])  # the one before the last
    assert trainer.compiles == 3
    again = trainer.refit(WEIGHTS, None, 0, rows, held_out)
    assert trainer.compiles > 3
    for key, values in first.history.items():
        np.testing.assert_allclose(again.history[key], values, rtol=1e-5, err_msg=key)


@pytest.mark.slow
def test_ctrl_c_leaves_out_what_was_not_begun(quick, monkeypatch):
    """Replicas of other sizes than those in progress have trained no epoch."""

    def interrupt(done):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_physreg.replicas.trainer._progress", lambda *_: interrupt)
    told_of_every_epoch(monkeypatch)
    rows, held_out = [ROWS[:5], ROWS[:13], ROWS[:5]], [ROWS[5:], ROWS[13:], ROWS[5:]]
    trainer, history = trained(rows=rows, validation_rows=held_out, epochs=500)
    assert history.interrupted
    assert 0 < history.epochs_done[0] < 500
    assert list(history.epochs_done == 0) == [False, True, False]
    assert np.isnan(history.history["loss"][:, 1]).all()
    assert list(history.best_epoch >= 0) == [True, False, True]
    trainer.load_replica(1)


@pytest.mark.slow
def test_without_held_out_rows(quick):
    _, history = trained(validation_rows=None)
    assert history.monitor == "data_loss"
    assert not any(key.startswith("val_") for key in history.history)


@pytest.mark.slow
def test_all_trainings_and_cores_run_what_was_compiled_once(quick, monkeypatch):
    """Folds, more and fewer replicas, other rows of these sizes, fewer epochs."""
    monkeypatch.setattr("keras_physreg.replicas.compiled.cores", lambda: 2)
    trainer, first = trained(SEEDS)
    more = {term: values * 3 for term, values in WEIGHTS.items()}
    again = trainer.refit(more, SEEDS * 3, 0, TRAIN * 3, HELD_OUT * 3)
    other = [[rows[::-1] for rows in part] for part in (TRAIN, HELD_OUT)]
    few = {term: values[:1] for term, values in WEIGHTS.items()}
    trainer.refit(few, [8], 0, other[0][:1], other[1][:1], epochs=2)
    trainer.refit(WEIGHTS, [1, 2, 3], 0, *other)
    assert "(2 program" in first.engine
    assert trainer.compiles == 1
    for key, values in first.history.items():
        np.testing.assert_allclose(again.history[key][:, 6:], values, rtol=1e-4, err_msg=key)


@pytest.mark.slow
def test_refit_equals_a_new_training_on_other_rows(quick):
    trainer, _ = trained(SEEDS)
    other = {"rows": [rows[::-1] for rows in TRAIN], "validation_rows": HELD_OUT}
    again = trainer.refit(WEIGHTS, SEEDS, 0, **other)
    _, fresh = trained(SEEDS, **other)
    for key, values in fresh.history.items():
        np.testing.assert_allclose(again.history[key], values, rtol=1e-4, atol=1e-6)
    same = trainer.refit(WEIGHTS, SEEDS, 0)
    np.testing.assert_array_equal(same.history["loss"], again.history["loss"])


@pytest.mark.parametrize(
    ("rows", "held_out", "error", "message"),
    [
        (None, [[0]] * 2, ValueError, "`validation_rows` needs `rows`"),
        (3, None, TypeError, r"one 1-D array of row numbers per replica.*rows=3"),
        ([[0]], None, ValueError, r"there are 2 replicas.*length 1"),
        ([0, 1], None, ValueError, r"rows\[0\].*shape \(\).*\[rows\] \* replicas"),
        ([[0], []], None, ValueError, r"`rows\[1\]` is empty"),
        ([[0], [0.5]], None, TypeError, r"`rows\[1\]` must hold integers.*float64"),
        ([[0], [True, False]], None, TypeError, r"numpy.flatnonzero\(mask\).*bool"),
        ([[0], [1, -1]], None, ValueError, r"from 0 to 19.*from -1 to 1"),
        ([[0], [1, 20]], None, ValueError, r"the data have 20 rows.*from 1 to 20"),
        ([[0], [3, 4, 3]], None, ValueError, r"`rows\[1\]` must hold each row once.*\[3\]"),
        ([[0], [1, 2]], [[1], [3, 2]], ValueError, r"Replica 1 .*both: \[2\]"),
        ([[0], [1]], [[2], []], ValueError, r"`validation_rows\[1\]` is empty"),
        ([[0], [1]], [[2]], ValueError, r"`validation_rows`.*length 1"),
    ],
)
def test_bad_input(rows, held_out, error, message):
    trainer = kp.ReplicaTrainer(models.mlp(), {"x": [0.0, 1.0]})
    with pytest.raises(error, match=f"(?s){message}"):
        trainer.fit(*models.mlp_data(), rows=rows, validation_rows=held_out, verbose=0)


def test_validation_data_beside_rows():
    trainer, data = kp.ReplicaTrainer(models.mlp(), {"x": [0.0]}), models.mlp_data()
    with pytest.raises(ValueError, match="`validation_rows` in place of `validation_data`"):
        trainer.fit(*data, data, rows=[[0, 1]], verbose=0)


@pytest.mark.slow
def test_bad_input_of_refit(quick):
    trainer, _ = trained(engine="sequential", epochs=1)
    fewer = {term: values[:2] for term, values in WEIGHTS.items()}
    with pytest.raises(ValueError, match=r"had 3 replicas.*give `rows` for 2"):
        trainer.refit(fewer, verbose=0)
    with pytest.raises(ValueError, match="needs `validation_rows`"):
        trainer.refit(WEIGHTS, verbose=0, rows=TRAIN)
    with pytest.raises(ValueError, match=r"rows\[0\].*from 0 to 20"):
        trainer.refit(fewer, verbose=0, rows=[[0, 20], [1]], validation_rows=[[1], [2]])
    assert trainer.replicas == 3


def test_sizes_one_apart_share_the_smaller_size():
    rows = [list(range(n)) for n in (9, 10, 11, 12, 20)]
    sets = row_sets(rows, None, 5, 20, [1, 2, 3, 4, 5])
    assert [len(r) for r in sets.train] == [9, 9, 11, 11, 20]
    for kept, given, left in zip(sets.train, rows, sets.left_out, strict=True):
        assert sorted([*kept, *([left] if left >= 0 else [])]) == given
