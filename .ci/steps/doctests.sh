"$python" -m pytest -q --doctest-modules keras_physreg
