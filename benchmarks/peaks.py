"""The peak of memory of whole training runs, tests included, each in a process of its own.

Run as a script it is that process: it trains as ``mf-pmd train`` does with the same words, and ends with a
line of json. Imported, it is the other end.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from timing import Parts

STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """The most memory that this process has held at once.

    From Linux's own record of the program that runs now: ``ru_maxrss`` of a child starts at what its parent
    held when it was forked.
    """
    if STATUS.is_file():
        for line in STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def peak_of_training(words: Sequence[str]) -> Parts:
    """Train once: ``peak``, bytes of the process; ``device``, of a GPU by torch's allocator; ``total``, s.

    Args:
        words: as for ``mf-pmd train``, with ``with`` among them.

    Raises:
        RuntimeError: the run failed, its last words within.
    """
    with tempfile.TemporaryDirectory() as results:
        done = subprocess.run(
            [sys.executable, __file__, *words, f"local_results_path={results}"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise RuntimeError(f"status {done.returncode}: {last}")
    parts: Parts = json.loads(done.stdout.splitlines()[-1])
    return parts


def main(words: Sequence[str]) -> int:
    """Train, and print what it took."""
    import torch

    from mf_pmd import cli

    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        status = cli.main(["train", *words])
    device = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    parts = {"peak": peak_bytes(), "device": device, "total": time.perf_counter() - start}
    print(json.dumps(parts), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
