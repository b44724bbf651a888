"""A stand-in for an EPyMARL checkout: its file names and entry points, and no more than these tests need."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = """\
import os
import sys

from utils.logging import get_logger
from run import run


def yaml_file(option, folder):
    for word in sys.argv:
        if word.split("=")[0] == option:
            name = word.split("=")[1]
            return os.path.join(os.path.dirname(__file__), "config", folder, "{}.yaml".format(name))


if __name__ == "__main__":
    run(get_logger(), yaml_file("--config", "algs"), yaml_file("--env-config", "envs"), sys.argv[1:])
"""

RUN = """\
import json

from components.episode_buffer import EpisodeBatch
from controllers import REGISTRY as controllers
from envs import REGISTRY as envs
from learners import REGISTRY as learners
from modules.agents import REGISTRY as agents
from modules.critics import REGISTRY as critics
from runners import REGISTRY as runners


def run(log, algorithm, environment, words):
    if "fail" in words:
        raise SystemExit("failed, as asked")
    for file in (algorithm, environment):
        with open(file) as stream:
            stream.read()
    registries = {
        "learners": learners, "controllers": controllers, "agents": agents,
        "critics": critics, "runners": runners, "envs": envs,
    }
    names = {field: sorted(registry) for field, registry in registries.items()}
    report = {"config": algorithm, "env_config": environment, "words": words, "registries": names}
    print("REPORT " + json.dumps(report), flush=True)
"""

REGISTRY = 'REGISTRY = {{}}\n\nREGISTRY["{name}"] = object\n'

FILES = {
    ".gitignore": "__pycache__/\n",
    "src/main.py": MAIN,
    "src/run.py": RUN,
    "src/components/__init__.py": "",
    "src/components/episode_buffer.py": "class EpisodeBatch:\n    pass\n",
    "src/controllers/__init__.py": REGISTRY.format(name="basic_mac"),
    "src/envs/__init__.py": "import smaclite\n\n" + REGISTRY.format(name="gymma"),
    "src/learners/__init__.py": REGISTRY.format(name="q_learner"),
    "src/modules/__init__.py": "",
    "src/modules/agents/__init__.py": 'REGISTRY = {"rnn": object}\n',
    "src/modules/critics/__init__.py": REGISTRY.format(name="cv_critic"),
    "src/runners/__init__.py": REGISTRY.format(name="episode"),
    "src/utils/logging.py": "import logging\n\n\ndef get_logger():\n    return logging.getLogger()\n",
    "src/config/default.yaml": "runner: episode\n",
    "src/config/algs/iql.yaml": "name: iql\n",
    "src/config/envs/gymma.yaml": "env: gymma\n",
}


class StandIn:
    """A stand-in checkout at ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = root / "src"
        self.attached_file = self.source / "utils" / "__init__.py"
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def everything(self) -> dict[str, bytes]:
        """Every file and folder in it, with the contents of the files."""
        return {
            str(path.relative_to(self.root)): b"" if path.is_dir() else path.read_bytes()
            for path in sorted(self.root.rglob("*"))
        }

    def run_main(self, *words: str, isolated: bool = False) -> subprocess.CompletedProcess[str]:
        """Run its main.py as its users do; ``isolated`` by a Python without installed packages."""
        hidden = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
        return subprocess.run(
            [sys.executable, *(["-S"] if isolated else []), "src/main.py", *words],
            cwd=self.root,
            env={key: value for key, value in os.environ.items() if key not in hidden},
            capture_output=True,
            text=True,
            check=False,
        )

    @staticmethod
    def report_in(output: str) -> dict:
        """What its run saw: the yaml files, its words, and the names in its registries."""
        lines = [line.removeprefix("REPORT ") for line in output.splitlines() if line.startswith("REPORT ")]
        assert len(lines) == 1, output
        return json.loads(lines[0])


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path / "epymarl")
