"$python" -m pip install -q ".[dev]"
