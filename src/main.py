"""``python src/main.py ARGS`` is ``mf-pmd train ARGS``."""

import sys

sys.path.pop(0)  # this folder: its modules would shadow those of the same name elsewhere
try:
    from mf_pmd import cli
except ModuleNotFoundError as error:
    if error.name != "mf_pmd":
        raise
    remedy = "run make setup and use .venv/bin/python, or pip install -e ."
    print(f"error: mf_pmd is not installed for this Python: {remedy}", file=sys.stderr)
    sys.exit(2)

sys.exit(cli.main(["train", *sys.argv[1:]]))
