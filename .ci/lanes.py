"""Runs steps side by side, and fails as soon as one of them fails.

Each argument is a lane: names of steps, separated by spaces, that run one after the other while
the other lanes run theirs. A step is a file `<name>.sh` of the folder `$STEPS`, by default
`steps` beside this file. Its output is printed when it ends, with the seconds that it took.

Run: python3 .ci/lanes.py "lint package" "examples guides"
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

STEPS = Path(os.environ.get("STEPS", Path(__file__).parent / "steps"))


class Lanes:
    """Steps that run side by side; `failed` is the name of the first that failed."""

    def __init__(self, lanes: list[list[str]]) -> None:
        self.lanes = lanes
        self.failed: str | None = None
        self._running: set[subprocess.Popen] = set()
        self._lock = threading.RLock()

    def run(self) -> None:
        """Runs all lanes, and waits for them; raises what goes wrong in one."""
        with ThreadPoolExecutor(len(self.lanes)) as threads:
            list(threads.map(self._run_lane, self.lanes))

    def stop(self, reason: str) -> None:
        """Ends the steps that still run, with the processes that they started."""
        with self._lock:
            self.failed = self.failed or reason
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)

    def _run_lane(self, steps: list[str]) -> None:
        for step in steps:
            if not self._run_step(step):
                return

    def _run_step(self, step: str) -> bool:
        begin = time.perf_counter()
        with tempfile.TemporaryFile() as output:
            with self._lock:
                if self.failed:
                    return False
                process = subprocess.Popen(
                    ["bash", "-euo", "pipefail", str(STEPS / f"{step}.sh")],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                self._running.add(process)
            code = process.wait()
            with self._lock:
                self._running.discard(process)
                stopped = self.failed is not None
                if code and not stopped:
                    self.stop(step)
                output.seek(0)
                word = "stopped" if stopped and code else "FAILED" if code else "passed"
                print(f"\n== {step}: {word} after {time.perf_counter() - begin:.0f} s", flush=True)
                sys.stdout.buffer.write(output.read())
                sys.stdout.flush()
        return code == 0


def main() -> int:
    """Runs the lanes that the arguments name."""
    lanes = [argument.split() for argument in sys.argv[1:]]
    missing = [step for lane in lanes for step in lane if not (STEPS / f"{step}.sh").is_file()]
    if missing or not any(lanes):
        print(f"No such step: {missing}" if missing else "No steps.", file=sys.stderr)
        return 2
    running = Lanes(lanes)

    def stop(*_: object) -> None:
        running.stop("everything: it was told to stop")

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    begin = time.perf_counter()
    running.run()
    print(f"\n== {len(lanes)} lanes: {time.perf_counter() - begin:.0f} s", flush=True)
    if running.failed:
        print(f"FAILED: {running.failed}", flush=True)
    return 1 if running.failed else 0


if __name__ == "__main__":
    sys.exit(main())
