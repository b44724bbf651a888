"""Adam on one parameter vector, with the state of a torch optimiser."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MEAN, SQUARE = "exp_avg", "exp_avg_sq"  # torch's names of m and v


class FlatAdam:
    """The parameters and the state of a ``torch.optim.Adam`` side by side, for many small steps in a row.

    Kingma and Ba 2015, Alg. 1, on a gradient g that is first scaled down to ``grad_norm_clip``:

        m <- beta_1 m + (1 - beta_1) g,   v <- beta_2 v + (1 - beta_2) g^2,
        theta <- theta - lr / (1 - beta_1^k) m / (sqrt(v / (1 - beta_2^k)) + eps),   k = 1, 2, ...

    at a rate lr that every step is given. Between fits parameters, m, v and k live in the optimiser, which
    checkpoints hold: ``give_back`` puts them there.

    Args:
        optimiser: of one group of parameters; no weight decay, no amsgrad.
        grad_norm_clip: largest l2 norm of a gradient.

    Attributes:
        parameters: theta, [P], as ``torch.nn.utils.parameters_to_vector`` lays them out.
    """

    def __init__(self, optimiser: torch.optim.Adam, *, grad_norm_clip: float) -> None:
        (self.group,) = optimiser.param_groups
        assert not any(self.group[key] for key in ("weight_decay", "amsgrad", "maximize")), self.group
        self.optimiser, self.grad_norm_clip = optimiser, grad_norm_clip
        held: list[torch.nn.Parameter] = self.group["params"]
        state = optimiser.state
        self.parameters = side_by_side(held)
        self.mean, self.square = (
            side_by_side([state[p].get(key, torch.zeros_like(p)) for p in held]) for key in (MEAN, SQUARE)
        )
        self.steps = int(state[held[0]].get("step", 0))

    def step(self, gradient: Tensor, *, lr: float) -> None:
        """Descend along a gradient [P], which is overwritten, at this rate."""
        beta_1, beta_2 = self.group["betas"]
        self.steps += 1
        excess = torch.linalg.vector_norm(gradient).add_(1e-6).div_(self.grad_norm_clip)
        gradient.div_(excess.clamp_(min=1))
        self.mean.lerp_(gradient, 1 - beta_1)
        self.square.mul_(beta_2).addcmul_(gradient, gradient, value=1 - beta_2)
        # both sides of the last fraction times sqrt(1 - beta_2^k)
        scale = math.sqrt(1 - beta_2**self.steps)
        root = torch.sqrt(self.square, out=gradient).add_(self.group["eps"] * scale)
        rate = lr * scale / (1 - beta_1**self.steps)
        self.parameters.addcdiv_(self.mean, root, value=-rate)

    @torch.no_grad()
    def give_back(self) -> None:
        """Write parameters and state to the network and its optimiser."""
        held: list[torch.nn.Parameter] = self.group["params"]
        sizes = [p.numel() for p in held]
        vectors = [vector.split(sizes) for vector in (self.parameters, self.mean, self.square)]
        for p, *pieces in zip(held, *vectors, strict=True):
            value, mean, square = (piece.view_as(p) for piece in pieces)
            p.copy_(value)
            step = torch.full((), float(self.steps), device=p.device)
            self.optimiser.state[p] = {"step": step, MEAN: mean.clone(), SQUARE: square.clone()}


def side_by_side(tensors: Sequence[Tensor]) -> Tensor:
    """One vector, a copy of all."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
