"""Shapes of tensors, told without asking torch."""

from collections.abc import Sequence
from itertools import zip_longest


def common_shape(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that tensors of these shapes are broadcast to, which they must be fit for.

    ``torch.broadcast_shapes`` checks that, and takes as long as several operations on small tensors.
    """
    longest = max(shapes, key=len)
    for shape in shapes:
        if shape != longest[len(longest) - len(shape) :]:
            break
    else:
        return tuple(longest)
    from_the_last = zip_longest(*[shape[::-1] for shape in shapes], fillvalue=1)
    return tuple([next((n for n in sizes if n != 1), 1) for sizes in from_the_last][::-1])
