"""What the policy-mirror-descent learners share: the schedules, and whose trajectories are counted."""

import math
from types import SimpleNamespace
from typing import Any

import torch

from ..errors import UserError
from ..functional.mirror_descent import mixing_weight, scale_free_step_size, step_size
from .cell_learner import CellLearner
from .epoch_learner import require_choices, require_mean_field_agent, require_undiscounted
from .optimism import Optimism
from .scale_free import Spreads, is_scale_free


class MirrorDescentSchedules:
    """The schedules of Alg. 2, of the number of epochs done."""

    args: SimpleNamespace
    epoch: int

    @property
    def xi(self) -> float:
        """Step size of this epoch."""
        return step_size(self.epoch, self.args.c_xi)

    @property
    def mixing(self) -> float:
        """Weight of the uniform policy in this epoch."""
        return mixing_weight(self.epoch, self.args.c_mix, self.args.mix_offset)


class MeanFieldLearner(MirrorDescentSchedules, CellLearner):
    """One epoch of policy mirror descent a batch (Yardim & He 2025, Alg. 2).

    ``train`` counts the batch into cells; ``update`` does the TD learning, then one mirror-descent
    step, from the cells alone, at a cost that does not depend on N.

    ``step_rule: scale_free`` makes learning the same whatever the units and the origin of rewards: xi_t = c /
    sqrt(sum of G_k^2), G_k the spread of Q over actions in epoch k, all steps together, and tau in units of
    G_0 / sqrt(H). It is meant for rewards scaled into [0, 1] by bounds far wider than what is paid, where
    ``c_xi`` in these units would be next to nothing.

    Args:
        mac: a mean-field controller.
        scheme: the host's batch scheme (not read).
        logger: the host's logger.
        args: besides CellLearner's, reads ``gamma``, ``tau``, ``c_xi``, ``c_mix``, ``mix_offset``,
            ``td_agents``, ``td_target``, ``step_rule``, ``c_scale_free``, ``optimism`` and
            ``population_info``.

    With ``optimism`` o > 0 the step goes along Q_t + o (Q_t - Q_{t-1}).

    Attributes:
        spreads: state of the scale-free rule, None where it does not hold.
        optimism: what remembers Q_{t-1}, None without.

    Raises:
        UserError: a setting that the algorithm cannot serve.
    """

    remedies = ("c_xi", "lr")

    def __init__(self, mac: Any, scheme: dict, logger: Any, args: SimpleNamespace) -> None:
        super().__init__(mac, scheme, logger, args)
        check_settings(args)
        require_choices(args, {"step_rule": ("auto", "sqrt", "scale_free")})
        require_mean_field_agent(mac, args)
        if args.optimism and mac.population_dependent:
            raise UserError(
                f"optimism={args.optimism}: it compares Q of two epochs row by row, and a policy that reads "
                "the population has no rows to keep; set optimism=0.0 or population_dependent=False"
            )
        self.spreads = Spreads() if is_scale_free(args, backward=self.sweeps_backwards(args)) else None
        shape = (args.population_info["horizon"], self.n_states, self.n_actions)
        self.optimism = Optimism(args.optimism, shape) if args.optimism else None

    def modules(self) -> dict[str, Any]:
        return {name: module for name, module in self._memories().items() if module is not None}

    def _memories(self) -> dict[str, torch.nn.Module | None]:
        return {"spreads": self.spreads, "optimism": self.optimism}

    def cuda(self) -> None:
        super().cuda()
        for module in self._memories().values():
            if module is not None:
                module.cuda()

    def check_state(self, path: str, state: dict[str, Any]) -> None:
        if ("spreads" in state) != (self.spreads is not None):
            rule = "scale_free" if "spreads" in state else "sqrt"
            raise UserError(f"checkpoint_path={path}: it was trained by another rule, set step_rule={rule}")
        if ("optimism" in state) != (self.optimism is not None):
            remedy = "a positive optimism" if "optimism" in state else "optimism=0.0"
            raise UserError(f"checkpoint_path={path}: it was trained by another rule, set {remedy}")
        super().check_state(path, state)

    @property
    def xi(self) -> float:
        if self.spreads is None:
            return super().xi
        return scale_free_step_size(self.spreads.total.item(), self.args.c_scale_free)

    @property
    def tau(self) -> float:
        """Weight of the entropy in reward units."""
        if self.spreads is None:
            return self.args.tau
        return self.args.tau * (self.spreads.first.item() / self.args.population_info["horizon"]) ** 0.5

    @staticmethod
    def sweeps_backwards(args: SimpleNamespace) -> bool:
        """Whether TD learning goes from the last step to the first."""
        return True

    @staticmethod
    def counts_first_agent_only(args: SimpleNamespace) -> bool:
        return args.td_agents == "one"

    @staticmethod
    def counts_next_cells(args: SimpleNamespace) -> bool:
        return args.td_target == "sarsa"


def check_settings(args: SimpleNamespace) -> None:
    """Refuse what policy mirror descent cannot serve; the message names key, value and remedy.

    Raises:
        UserError
    """
    require_undiscounted(args)
    require_choices(args, {"td_agents": ("all", "one"), "td_target": ("expected_sarsa", "sarsa")})
    if not 0 <= args.optimism < math.inf:
        raise UserError(f"optimism={args.optimism}: must be 0 or more, and finite")
    check_mirror_descent(args)


def check_mirror_descent(args: SimpleNamespace) -> None:
    """Refuse schedules under which a step of policy mirror descent is not defined; NaN is refused.

    Raises:
        UserError: naming ``tau``, ``c_xi``, ``c_mix`` or ``mix_offset``.
    """
    for key in ("c_xi", "mix_offset"):
        if not getattr(args, key) > 0:
            raise UserError(f"{key}={getattr(args, key)}: must be positive")
    for key in ("tau", "c_mix"):
        if not getattr(args, key) >= 0:
            raise UserError(f"{key}={getattr(args, key)}: must not be negative")
    if not args.tau * args.c_xi < 1:
        raise UserError(f"tau={args.tau}, c_xi={args.c_xi}: their product must be below 1, lower one of them")
