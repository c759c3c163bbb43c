"""Orders of rows are those of the seeds, however many are kept."""

import numpy as np

from keras_physreg.replicas import row_orders
from keras_physreg.unlabelled.row_order import row_order


def expected(seeds, epochs, rows):
    return np.array([[row_order(seed, e, rows) for seed in seeds] for e in epochs])


def test_orders_of_seeds_and_epochs(monkeypatch):
    seeds = [3, 4, 3]
    for kept in (row_orders.MAX_KEPT_BYTES, 0):
        monkeypatch.setattr(row_orders, "MAX_KEPT_BYTES", kept)
        orders = row_orders.RowOrders()
        for first in (0, 2, 0):
            found = orders.of(seeds, first, 2, 5, True)
            np.testing.assert_array_equal(found, expected(seeds, (first, first + 1), 5))
        np.testing.assert_array_equal(orders.of([4], 0, 2, 7, True), expected([4], (0, 1), 7))


def test_unshuffled():
    found = row_orders.RowOrders().of([3, 4], 0, 2, 5, False)
    np.testing.assert_array_equal(found, np.broadcast_to(np.arange(5), (2, 2, 5)))


def test_no_more_is_kept_than_allowed(monkeypatch):
    drawn = []
    draw = row_orders.row_order
    monkeypatch.setattr(row_orders, "row_order", lambda *a: (drawn.append(a[0]), draw(*a))[1])
    monkeypatch.setattr(row_orders, "MAX_KEPT_BYTES", 2 * 5 * 4)  # two epochs of five rows
    orders = row_orders.RowOrders()
    for _ in range(3):
        orders.of([1, 2], 0, 2, 5, True)
    assert drawn.count(1) == 2
    assert drawn.count(2) == 6
