"""Settings that networks of observations cannot serve."""

from types import SimpleNamespace

from ..errors import UserError
from ..modules.observation_network import IDENTITIES
from ..modules.parameter_history import most_kept
from ..modules.policy_history import OUTPUT_POLICIES

MOST_BYTES_KEPT = 2**31  # of the iterates of a run, in memory and in every checkpoint


def check_observation_settings(args: SimpleNamespace) -> None:
    """Refuse what no network can serve.

    Args:
        args: reads ``identity`` (absent means none), ``output_policy``, ``hidden_dim``, ``embedding_dim``,
            ``population_dependent``.

    Raises:
        UserError: naming key, value and remedy.
    """
    identity = getattr(args, "identity", "none")
    for key, value, choices in (
        ("identity", identity, IDENTITIES),
        ("output_policy", args.output_policy, OUTPUT_POLICIES),
    ):
        if value not in choices:
            raise UserError(f"{key}={value}: choose one of {', '.join(choices)}")
    if args.hidden_dim < 1:
        raise UserError(f"hidden_dim={args.hidden_dim}: must be at least 1")
    if args.embedding_dim < 0:
        raise UserError(f"embedding_dim={args.embedding_dim}: must be 0 (none) or more")
    if identity == "own_network" and args.embedding_dim:
        raise UserError(
            f"embedding_dim={args.embedding_dim}: with identity=own_network N networks would each embed N "
            "agents, set embedding_dim=0"
        )
    if args.population_dependent and not args.embedding_dim:
        raise UserError(
            "population_dependent=True, embedding_dim=0: the policy sees the population through the "
            "embedding, set embedding_dim above 0 or population_dependent=False"
        )


def check_iterates_kept(args: SimpleNamespace, *, n_parameters: int, horizon: int | None) -> None:
    """Refuse to keep more iterates than memory and checkpoints should hold.

    Args:
        args: reads ``output_policy``, ``t_max``, ``batch_size_run``.
        n_parameters: P, 4 bytes each.
        horizon: environment steps of an episode, None where they are not known: then nothing is refused.

    Raises:
        UserError: saying what they cost.
    """
    if horizon is None:
        return
    n_iterates = 1 + -(-args.t_max // (args.batch_size_run * horizon))
    kept = most_kept(args.output_policy, n_iterates)
    n_bytes = 4 * n_parameters * kept
    if n_bytes > MOST_BYTES_KEPT:
        raise UserError(
            f"output_policy={args.output_policy}: {kept} iterates of {n_parameters:,} parameters are "
            f"{n_bytes / 2**30:.1f} GiB in memory and in every checkpoint (at most "
            f"{MOST_BYTES_KEPT / 2**30:.0f}), set output_policy=last"
        )
