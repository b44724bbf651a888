"""Kernels of MFGLib's environments, written for one population, at whole batches of them."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

Kernel = Callable[[int, Tensor], Tensor]
"""(t, L) -> a table, as MFGLib calls it, or the same with a batch axis in front of both."""
CLOSE = 1e-5  # of the largest entry: float32, summed in another order


class _ZerosOf(TorchFunctionMode):
    """Within the block, ``torch.zeros`` makes tensors of the batch: kernels may then write into them."""

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.like = like

    def __torch_function__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        return made + 0 * self.like.sum() if function is torch.zeros else made


def vectorised(kernel: Kernel) -> Kernel:
    """The kernel under ``torch.vmap``; L has a batch axis in front."""

    def batched(t: int, populations: Tensor) -> Tensor:
        def one(population: Tensor) -> Tensor:
            with _ZerosOf(population):
                return kernel(t, population)

        return torch.vmap(one)(populations)

    return batched


def looped(kernel: Kernel) -> Kernel:
    """The kernel at one population after the other: always right, and slow."""
    return lambda t, populations: torch.stack([kernel(t, population) for population in populations])


def linear_quadratic_law(function: Any) -> Kernel:
    """MFGLib's ``linear_quadratic`` transitions, which are written with ``item()``, for a batch.

    s' = round(s + (k (m - s) + a) delta + sigma eps sqrt(delta)), kept within -el .. el, with eps = -3 .. 3
    (times sigma again) and m the mean state (Perrin et al. 2020, Sec. 4.1). float32 as there.

    Args:
        function: the environment's ``transition_fn``.
    """
    el, m = function.el, function.m

    def batched(t: int, populations: Tensor) -> Tensor:
        mean = (torch.arange(-el, el + 1) * populations.flatten(2).sum(-1)).sum(-1).reshape(-1, 1, 1, 1)
        s = torch.arange(2 * el + 1).reshape(-1, 1, 1)
        a = torch.arange(2 * m + 1).reshape(-1, 1)
        drift = s - el + (function.k * (mean - s + el) + a - m) * function.delta  # [B, S, A, 1]
        landing = torch.round(drift + function.sigma * function.epsilon * function.delta**0.5)
        landing = landing.clamp(-el, el).long() + el  # [B, S, A, 7]
        law = torch.zeros(*landing.shape[:-1], 2 * el + 1)
        law.scatter_add_(-1, landing, function.epsilon_pr.expand(landing.shape))
        return law.movedim(-1, 1)  # [B, S', S, A]

    return batched


def random_linear_law(function: Any) -> Kernel:
    """MFGLib's ``random_linear`` transitions softmax(p1 L + p2), in float64.

    Under ``torch.vmap`` the product of a population depends, in its last digit, on how many there are.
    """

    def batched(t: int, populations: Tensor) -> Tensor:
        pulled = torch.einsum("tsk,bka->btsa", function.p1.double(), populations.double())
        return torch.softmax(pulled + function.p2.double(), 1)

    return batched


def random_linear_reward(function: Any) -> Kernel:
    """MFGLib's ``random_linear`` rewards r1 L + r2, likewise."""
    return lambda t, populations: function.r1.double() @ populations.double() + function.r2.double()


def susceptible_infected_law(environment: Any) -> Kernel:
    """MFGLib's ``susceptible_infected`` transitions for a batch, digit for digit.

    A share .9^2 nu(infected) of those who go out (action 0) is infected, nobody who stays in; three of ten
    recover.
    """

    sure = torch.tensor([[[1.0, 1.0], [0.3, 0.3]], [[0.0, 0.0], [0.7, 0.7]]])  # [S', S, A]
    of_caught = torch.tensor([[[-1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]]])

    def batched(t: int, populations: Tensor) -> Tensor:
        caught = (0.9**2) * populations[:, 1].sum(-1)  # [B]
        return torch.addcmul(sure, of_caught, caught.reshape(-1, 1, 1, 1))

    return batched


def constant_reward(environment: Any) -> Kernel:
    """Rewards that read neither the step nor the population, for a batch."""
    shape = (*environment.S, *environment.A)
    table = environment.reward(0, torch.full(shape, 1 / math.prod(shape)))
    return lambda t, populations: table.expand(len(populations), *table.shape)


def beach_bar_reward(environment: Any) -> Kernel:
    """MFGLib's ``beach_bar`` rewards c1(s) + c2(a) - log(nu(s) + eps) for a batch, digit for digit."""
    function = environment.reward_fn
    fixed = function.c1 + function.c2

    def batched(t: int, populations: Tensor) -> Tensor:
        return fixed - torch.log(populations.sum(-1, keepdim=True) + function.log_eps)

    return batched


def building_evacuation_reward(environment: Any) -> Kernel:
    """MFGLib's ``building_evacuation`` rewards r(s) - eta log max(nu(s), eps) for a batch, likewise."""
    function = environment.reward_fn

    def batched(t: int, populations: Tensor) -> Tensor:
        share = populations.sum(-1).clamp(min=function.log_eps)
        reward = -function.eta * torch.log(share) + function.r
        return reward.unsqueeze(-1).expand(populations.shape)

    return batched


def fastest(kernel: Kernel, candidates: list[Kernel], steps: list[int], populations: Tensor) -> Kernel:
    """The first candidate that gives what the kernel gives one by one; the loop where none does.

    Args:
        kernel: of one population.
        candidates: of a batch, the fastest first.
        steps: at which they are compared.
        populations: at which they are compared, [K, S..., A...].
    """
    reference = looped(kernel)
    right = [reference(t, populations) for t in steps]
    for candidate in candidates:
        try:
            found = [candidate(t, populations) for t in steps]
        except RuntimeError:  # vmap cannot follow it
            continue
        if all(_alike(a, b) for a, b in zip(found, right, strict=True)):
            return candidate
    return reference


def _alike(found: Tensor, right: Tensor) -> bool:
    if found.shape != right.shape:
        return False
    return bool((found - right).abs().max() <= CLOSE * right.abs().max().clamp(min=1e-30))
