"""What a controller refuses to play."""

from torch import Tensor

from ..errors import DivergenceError
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
