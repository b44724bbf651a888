"""``python src/main.py ARGS`` is ``mf-pmd train ARGS``."""

import sys

sys.path.pop(0)  # this folder: its modules would shadow those of the same name elsewhere
from mf_pmd import cli

sys.exit(cli.main(["train", *sys.argv[1:]]))
