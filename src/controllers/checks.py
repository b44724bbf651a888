"""What a controller refuses: settings, checkpoints, policies that are none."""

from types import SimpleNamespace

from torch import Tensor

from ..errors import DivergenceError, UserError
from ..functional.checks import NotAPolicyError, require_policy


def require_playable(rows: Tensor, *, name: str) -> Tensor:
    """Pass rows of probabilities [..., A] on, unless they are none.

    Raises:
        DivergenceError: an entry is NaN, infinite or negative, or a row does not sum to 1.
    """
    try:
        return require_policy(rows, name=name)
    except NotAPolicyError as error:
        raise DivergenceError(str(error)) from error


def require_same(here: dict[str, object], there: dict[str, object], path: str) -> None:
    """Refuse a checkpoint of another game or of other sizes.

    Raises:
        UserError: naming what differs.
    """
    for key, value in here.items():
        if there.get(key) != value:
            raise UserError(
                f"checkpoint_path={path}: its {key} is {there.get(key)}, this run's is {value}; "
                "load it with the settings it was trained with (the number of agents may differ)"
            )


def require_population(args: SimpleNamespace) -> None:
    """Refuse an environment without discrete local states, or a runner that does not tell them.

    Raises:
        UserError: naming the key and the remedy.
    """
    if getattr(args, "population_info", None) is None:
        raise UserError(
            f"env={getattr(args, 'env', None)}, runner={getattr(args, 'runner', None)}: {args.name} needs a "
            "game with discrete local states under runner=population, such as --env-config=a_sis"
        )
    if args.population_info["n_states"] is None:
        raise UserError(
            f"env_args.key={args.population_info['game']}: {args.name} needs numbered local states, and this "
            "game has too many; take mf_pmd, mf_ppo or ippo"
        )
    if args.observation != "index":
        raise UserError(
            f"observation={args.observation}: {args.name} reads local states, set observation=index"
        )
