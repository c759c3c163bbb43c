"""Real processes: a Dask cluster whose workers are killed, and a pool of spawned processes."""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import random
import signal
import threading
import time

import keras
import numpy as np
import pytest

import keras_physreg as kp
from keras_physreg.executors.checks import checked_pool
from keras_physreg.executors.dask_pool import DaskPool
from keras_physreg.executors.trainer import DistributedTrainer, LostReplicasError
from tests import kept_graphs
from tests.executors.setups import HELD_OUT, ROWS, SEEDS, WEIGHTS, assert_same, fit, make
from tests.quick_replicas import QUICK

REWRITTEN_GRAPHS = True

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")
pytestmark = [
    pytest.mark.slow,
    # Dask's own: of ports, and of processes that were killed.
    pytest.mark.filterwarnings("default:::distributed"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
KILLS = int(os.environ.get("KILLS", "3"))
PATIENCE = 600  # Seconds after which something hangs, however busy the machine.


@pytest.fixture(scope="module")
def client():
    # By default a worker is given up that is not back after 15 seconds.
    patience = dask.config.set({"distributed.deploy.lost-worker-timeout": "5 minutes"})
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with (
        patience,
        distributed.LocalCluster(processes=True, **settings) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@functools.cache
def trained_here():
    model = make(1.5)
    return model, fit(kp.ReplicaTrainer(model, WEIGHTS, SEEDS), epochs=40)


@pytest.fixture
def expected(as_shipped):
    """A model, and its logs without an executor, trained as shipped: as by the workers."""
    return trained_here()


@pytest.fixture(scope="module", autouse=True)
def _let_go():
    yield
    trained_here.cache_clear()


class QuickWorkers(distributed.WorkerPlugin):
    """Replicas are quick to compile in workers that come back, too."""

    def setup(self, worker):
        for (owner, name), value in QUICK.items():
            setattr(owner, name, value)
        kept_graphs.forget_programs()  # Those of the tests before are compiled by XLA.


def distributed_trainer(executor, model, workers=None, **settings):
    pool = checked_pool(executor, workers)
    return DistributedTrainer(pool, None, model, WEIGHTS, SEEDS, **settings)


def spawned(workers):
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)


def test_workers_of_a_cluster_train_as_this_process_does(client, expected):
    model, history = expected
    trainer = distributed_trainer(client, model, replicas_per_program=3)
    assert_same(fit(trainer, epochs=40), history)


def test_spawned_processes_train_as_this_process_does_until_one_is_killed(expected):
    model, history = expected
    with spawned(2) as executor:
        trainer = distributed_trainer(executor, model, workers=2)
        assert_same(fit(trainer, epochs=40), history)
        os.kill(executor.submit(os.getpid).result(), signal.SIGKILL)
        with contextlib.suppress(concurrent.futures.BrokenExecutor):
            while True:  # It is told some time later.
                executor.submit(os.getpid).result()
        with pytest.raises(LostReplicasError, match="ProcessPoolExecutor is of no use after that"):
            trainer.refit(WEIGHTS, SEEDS, verbose=0)


def test_a_sweep_by_a_cluster_gives_the_verdicts_of_one_process(client):
    client.register_plugin(QuickWorkers())
    settings = {"weights": [0.1, 1.0], "epochs": 20, "cv": 3, "repeats": 2, "verbose": 0}
    here = kp.sanity_sweep(make, *ROWS, **settings)
    far = kp.sanity_sweep(make, *ROWS, **settings, executor=client)
    for name, term in here.terms.items():
        measured = far.terms[name].measured["score"]
        np.testing.assert_allclose(measured, term.measured["score"], rtol=1e-5)
        assert far.verdicts[name].verdict == here.verdicts[name].verdict


class Killer(threading.Thread):
    """Kills a worker by SIGKILL at a random moment at which it trains a group.

    A moment at which no group is trained is drawn again, from half as many seconds.

    Args:
        client: The client.
        pids: The process of each worker, by address.
        rng: Draws the moment, and the worker.
        seconds: The longest time until the moment, at first.
    """

    def __init__(self, client, pids, rng, seconds):
        super().__init__()
        self.client, self.pids, self.rng, self.seconds = client, pids, rng, seconds
        self.killed, self.is_over = None, threading.Event()

    def run(self):
        while self.killed is None and not self.is_over.wait(self.rng.uniform(0, self.seconds)):
            self.seconds /= 2
            tasks = self.client.processing()
            busy = [at for at in self.pids if any("group" in key for key in tasks.get(at, ()))]
            if busy:
                self.killed = self.pids[self.rng.choice(busy)]
                os.kill(self.killed, signal.SIGKILL)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.join()


def processes(client, killed):
    """The process of each worker, by address, once two are there that were not killed."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError):  # A worker has just died.
            pids = client.run(os.getpid)
            if len(pids) == 2 and killed not in pids.values():
                return pids
        time.sleep(0.2)
    raise TimeoutError("the cluster does not have two workers again")


def test_nothing_is_lost_or_counted_twice_when_workers_are_killed(client, monkeypatch):
    """Trainings follow one another until a worker was killed, however long one of them takes."""
    client.register_plugin(QuickWorkers())
    model = make(1.5)
    history = fit(kp.ReplicaTrainer(model, WEIGHTS, SEEDS), epochs=40)
    done = []
    monkeypatch.setattr("keras_physreg.replicas.trainer._progress", lambda *_: done.append)

    def train():
        done.clear()
        found = fit(distributed_trainer(client, model, replicas_per_program=3), epochs=40)
        assert_same(found, history)
        assert sum(done) == 12 * 40

    rng, killed = random.Random(0), None
    for _ in range(KILLS):
        pids = processes(client, killed)
        begin = time.monotonic()
        train()  # A worker that came back compiles here; the trainings after it are shorter.
        seconds = time.monotonic() - begin
        with Killer(client, pids, rng, seconds) as killer:
            while killer.is_alive() and time.monotonic() < begin + PATIENCE:
                train()
        killed = killer.killed
        assert killed is not None
    processes(client, killed)


def test_ctrl_c_keeps_the_groups_that_are_finished(client, monkeypatch):
    client.register_plugin(QuickWorkers())
    processes(client, None)
    ctrl_c = threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT])
    submit, submitted = DaskPool._submit, []

    def progress(done):
        if ctrl_c.ident is None:
            ctrl_c.start()

    def submit_four(self, *arguments):
        """Of six groups two have not begun when Ctrl-C comes, late as that may be."""
        submitted.append(arguments)
        if len(submitted) > 4:
            time.sleep(PATIENCE)  # Ctrl-C ends it.
        return submit(self, *arguments)

    monkeypatch.setattr("keras_physreg.replicas.trainer._progress", lambda *_: progress)
    monkeypatch.setattr(DaskPool, "_submit", submit_four)
    history = fit(distributed_trainer(client, make(), replicas_per_program=2), epochs=500)
    ctrl_c.join()
    assert history.interrupted
    assert set(history.epochs_done.tolist()) == {0, 500}
    assert (history.epochs_done == 500).sum() <= 8


def deadly(z, x_pred):
    """Physics that kills the process of a worker."""
    with contextlib.suppress(ValueError):  # This process is no worker.
        distributed.get_worker()
        os.kill(os.getpid(), signal.SIGKILL)
    return x_pred - z[:, :2]


def test_a_group_that_kills_its_workers_again_and_again_is_a_failure(client, monkeypatch):
    """By default Dask tries three times."""
    monkeypatch.setattr(client.cluster.scheduler, "allowed_failures", 1)
    client.wait_for_workers(2, timeout=PATIENCE)
    z = keras.Input((6,))
    layer = kp.PhysicsRegularization(deadly, {"law": 0.0})
    model = kp.PhysicsModel(z, layer(z, keras.layers.Dense(2)(z)))
    model.compile("sgd", "mse")
    trainer = DistributedTrainer(checked_pool(client, None), None, model, {"law": [0.0, 1.0]})
    with pytest.raises(LostReplicasError, match=r"2 of 2 .* killed 2 workers, one after the other"):
        trainer.fit(*ROWS, validation_data=HELD_OUT, verbose=0)
    client.wait_for_workers(2, timeout=PATIENCE)


def test_a_cluster_that_cannot_train_is_refused():
    settings = {"processes": False, "dashboard_address": ":0"}
    with (
        distributed.LocalCluster(n_workers=0, **settings) as cluster,
        distributed.Client(cluster) as client,
    ):
        with pytest.raises(ValueError, match="no workers yet"):
            checked_pool(client, None)
        assert checked_pool(client, 3).workers == 3
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, **settings) as cluster,
        distributed.Client(cluster) as client,
        pytest.raises(ValueError, match="several threads"),
    ):
        checked_pool(client, None)
