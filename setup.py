"""Package metadata: the folder ``src`` is installed as the package ``mf_pmd``."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def read_version() -> str:
    """The version that ``src/__init__.py`` states, read without importing the package."""
    text = (ROOT / "src" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, flags=re.MULTILINE)
    if match is None:
        raise RuntimeError("src/__init__.py states no __version__")
    return match.group(1)


def read_description() -> str:
    """The README, or nothing where a source tree comes without one."""
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.is_file() else ""


# The bootstrap of rliable (Agarwal et al. 2021) is a thin layer over arch, which is kept up. rliable 1.2.0
# itself is archived, asks for arch<8, which pandas 3 breaks, and draws from numpy's global generator
# whatever random_state it is given.
COMPARE = ["arch>=8.0"]

# Its ten environments are games of ours, with bounds and constants derived from the kernels of this version;
# the tests hold our oracles against its solvers.
MFGLIB = ["mfglib==0.3.0"]


setup(
    name="mf-pmd",
    version=read_version(),
    description="Approximate Nash equilibria of games with thousands of nearly identical agents",
    long_description=read_description(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    package_dir={"mf_pmd": "src"},
    packages=["mf_pmd", *(f"mf_pmd.{name}" for name in find_packages(str(ROOT / "src")))],
    package_data={"mf_pmd": ["config/**/*.yaml", "host/config/**/*.yaml"]},
    install_requires=[
        "torch>=2.4",
        "numpy>=1.26",
        "pyyaml>=6.0",
        "sacred>=0.8.7",
        # sacred imports pkg_resources, which newer releases no longer have
        "setuptools<81",
        "wandb>=0.17",
        "matplotlib>=3.8",
        "tqdm>=4.66",
    ],
    extras_require={
        "tensorboard": ["tensorboard>=2.16"],
        "compare": COMPARE,
        "mfglib": MFGLIB,
        "dev": [
            *COMPARE,
            *MFGLIB,
            "pytest>=8.2",
            "pytest-xdist>=3.6",
            "hypothesis>=6.100",
            "scipy>=1.12",
            "ruff>=0.8",
            "mypy>=1.10",
            "types-PyYAML>=6.0",
        ],
    },
    entry_points={"console_scripts": ["mf-pmd = mf_pmd.cli:main"]},
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
