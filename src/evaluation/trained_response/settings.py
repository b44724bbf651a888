"""How deviators are trained."""

from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from ...errors import UserError
from ...learners.ppo_update import PPOSettings

FILE = Path(__file__).resolve().parents[2] / "config" / "trained_response.yaml"
FEWEST_BATCHES = 10  # of which the learning curve compares the last fifth with the others
STARTS = ("frozen", "uniform")
SIGHTS = ("own_state", "population")


@dataclass(frozen=True)
class TrainingSettings:
    """The keys of config/trained_response.yaml, which says what they are."""

    budget: int
    sees: str
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
    candidates: int

    @property
    def sees_population(self) -> bool:
        """Whether deviators see more than exploitability grants them."""
        return self.sees == "population"

    def ppo(self) -> PPOSettings:
        """Of the update."""
        return PPOSettings(**{field.name: getattr(self, field.name) for field in fields(PPOSettings)})


def training_settings(**changes: int | float | str | None) -> TrainingSettings:
    """The settings of the yaml file, those that are given changed.

    Args:
        changes: by name; None leaves a setting as it is.

    Raises:
        UserError: a budget below ten batches, an unknown start, or a sight that is not known.
    """
    values = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    settings = TrainingSettings(
        **values | {key: value for key, value in changes.items() if value is not None}
    )
    if settings.start not in STARTS:
        raise UserError(f"--start={settings.start}: choose {' or '.join(STARTS)}")
    if settings.sees not in SIGHTS:
        raise UserError(f"--sees={settings.sees}: choose {' or '.join(SIGHTS)}")
    least = FEWEST_BATCHES * settings.batch_steps
    if settings.budget < least:
        raise UserError(
            f"--budget={settings.budget}: at least {least} steps, {FEWEST_BATCHES} batches of "
            f"{settings.batch_steps}, or no learning curve could be read"
        )
    return settings
