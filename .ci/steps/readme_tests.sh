# The README's test command, which makes its virtual environment.
bash -ec "$(grep -m 1 '^python3 -m venv .venv-test' README.md)"
