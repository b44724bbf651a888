"""How deviators are trained."""

from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from ...errors import UserError
from ...learners.ppo_update import PPOSettings

FILE = Path(__file__).resolve().parents[2] / "config" / "trained_response.yaml"
FEWEST_BATCHES = 10  # of which the learning curve compares the last fifth with the one before
STARTS = ("frozen", "uniform")


@dataclass(frozen=True)
class TrainingSettings:
    """The keys of config/trained_response.yaml, which says what they are."""

    budget: int
    start: str
    floor: float
    learning_share: float
    batch_steps: int
    hidden_dim: int
    lr: float
    epochs: int
    minibatches: int
    eps_clip: float
    entropy_coef: float
    grad_norm_clip: float
    gae_lambda: float
    validation: int

    def ppo(self) -> PPOSettings:
        """Of the update."""
        return PPOSettings(**{field.name: getattr(self, field.name) for field in fields(PPOSettings)})


def training_settings(**changes: int | float | str | None) -> TrainingSettings:
    """The settings of the yaml file, those that are given changed.

    Args:
        changes: by name; None leaves a setting as it is.

    Raises:
        UserError: a budget below one batch, or an unknown start.
    """
    values = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    settings = TrainingSettings(
        **values | {key: value for key, value in changes.items() if value is not None}
    )
    if settings.start not in STARTS:
        raise UserError(f"--start={settings.start}: choose {' or '.join(STARTS)}")
    least = FEWEST_BATCHES * settings.batch_steps
    if settings.budget < least:
        raise UserError(
            f"--budget={settings.budget}: at least {least} steps, {FEWEST_BATCHES} batches of "
            f"{settings.batch_steps}, or no learning curve could be read"
        )
    return settings
