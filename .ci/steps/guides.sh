"$python" -m pytest -q --durations 10 examples/guides
