"""A policy network over (local state, time) and, if asked, the population."""

from types import SimpleNamespace

import torch
from torch import Tensor

from ..features import cell_features, mlp, step_features
from .base import MeanFieldAgent


class MeanFieldNetworkAgent(MeanFieldAgent):
    """Logits of pi_h(a | s) or pi_h(a | s, nu), one network for all agents (Yardim & He 2025, Sec. 5).

    The first output is zero everywhere: the initial policy is uniform.

    Args:
        input_shape: F, see ``features.feature_size``.
        args: reads ``hidden_dim``, ``n_actions``, ``population_dependent``.
    """

    def __init__(self, input_shape: int, args: SimpleNamespace) -> None:
        super().__init__()
        self.hidden_dim = args.hidden_dim
        self.population_dependent = args.population_dependent
        self.layers = mlp([input_shape, args.hidden_dim, args.hidden_dim, args.n_actions])

    def init_hidden(self) -> Tensor:
        return next(self.parameters()).new_zeros(1, self.hidden_dim)

    def forward(self, inputs: Tensor, hidden_state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Features [..., F] -> logits [..., A]; the hidden state passes through untouched."""
        return self.layers(inputs), hidden_state

    def log_policy(self, population: Tensor | None, steps: Tensor, *, n_states: int, horizon: int) -> Tensor:
        logits, _ = self(self.features(population, steps, n_states=n_states, horizon=horizon))
        return torch.log_softmax(logits, -1)

    def features(self, population: Tensor | None, steps: Tensor, *, n_states: int, horizon: int) -> Tensor:
        """What ``forward`` takes, for every local state at the given steps: [..., K, S, F]."""
        seen = population if self.population_dependent else None
        return cell_features(seen, steps, n_states=n_states, horizon=horizon)

    def shared_features(self, population: Tensor | None, steps: Tensor, *, horizon: int) -> Tensor:
        """``features`` but the one-hot state, which all local states of a step share: [..., K, F - S]."""
        seen = population if self.population_dependent else None
        return step_features(seen, steps, horizon=horizon)

    def mean_policy(
        self, parameters: Tensor, population: Tensor, h: int, *, n_states: int, horizon: int
    ) -> Tensor:
        """Mean over K parameter vectors of the policies they stand for, at step h.

        Args:
            parameters: [K, P], as ``torch.nn.utils.parameters_to_vector`` lays them out; the
                module's own parameters are not used.
            population: nu [B, S].
            h: the step.
            n_states: S.
            horizon: H.

        Returns:
            [B, S, A] probabilities.
        """
        shapes = {name: value.shape for name, value in self.named_parameters()}
        chunks = parameters.split([shape.numel() for shape in shapes.values()], dim=1)
        stacked = {
            name: c.reshape(-1, *shape) for (name, shape), c in zip(shapes.items(), chunks, strict=True)
        }
        steps = torch.full((1,), h, device=population.device)
        sizes = {"n_states": n_states, "horizon": horizon}
        features = self.features(population.unsqueeze(-2), steps, **sizes)  # [B, 1, S, F]

        def policy(weights: dict[str, Tensor]) -> Tensor:
            logits, _ = torch.func.functional_call(self, weights, (features,))
            return torch.softmax(logits, -1)

        return torch.func.vmap(policy)(stacked).mean(0).squeeze(-3)
