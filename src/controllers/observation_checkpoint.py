"""What is written of a policy of observations, and which checkpoints are refused.

A checkpoint holds two files, both read by ``torch.load(..., weights_only=True)``:

- ``agent.th``: the ``state_dict`` of a ``DeepSetNetworkAgent``, its last parameters: the policy ``last``.
- ``policy.th``: ``{"meta": Meta's fields, "history": None | dict}``. The history is that of a
  ``ParameterHistory`` made with ``meta["output_policy"]``: ``window`` [K, P] of parameter vectors as
  ``torch.nn.utils.parameters_to_vector`` lays out the agent's, and how many there were, ``count``. It is
  None with ``output_policy=last``, which needs no iterate but agent.th.
"""

import logging
from typing import Any

from ..errors import UserError
from ..modules.parameter_history import ParameterHistory

KIND = "observation"
GENERALISES = (
    "only identity=none is the same policy among any number of agents, identity=number runs with its "
    "numbers spread anew"
)
RESPREAD = (
    "checkpoint_path=%s: trained with n_agents=%d, this run has %d: identity=number shows agent i the number "
    "i / (N - 1), now another agent's; only identity=none is the same policy among any number of agents"
)
MADE_WITH = "load it with the settings it was trained with"


def require_fitting(here: dict[str, Any], saved: dict[str, Any], path: str) -> None:
    """Refuse the checkpoint of a policy that cannot play here.

    Args:
        here: ``meta`` of this run.
        saved: what policy.th holds.
        path: for the message.

    Raises:
        UserError: naming what differs.
    """
    there = saved["meta"]
    if there.get("kind") != KIND:
        raise UserError(
            f"checkpoint_path={path}: its agent is {there.get('agent')}, a policy of numbered local states, "
            f"this run's is {here['agent']}; set agent as in training"
        )
    if there["n_features"] != here["n_features"]:
        raise UserError(
            f"checkpoint_path={path}: its networks read observations of {there['n_features']} numbers, this "
            f"run's have {here['n_features']}; show agents what they saw in training "
            "(env_args.observe_density, say)"
        )
    for key in ("identity", "game", "n_actions", "horizon", "hidden_dim", "embedding_dim"):
        require_alike(key, here, there, path)
    for key in ("population_dependent", "mask_absent"):
        require_alike(key, here, there, path)
    require_same_agents(here, there, path)


def require_alike(key: str, here: dict[str, Any], there: dict[str, Any], path: str) -> None:
    """Raise a UserError unless a checkpoint and this run agree on one key."""
    if there[key] != here[key]:
        raise UserError(
            f"checkpoint_path={path}: its {key} is {there[key]}, this run's is {here[key]}; {MADE_WITH}"
        )


def require_same_agents(here: dict[str, Any], there: dict[str, Any], path: str) -> None:
    """Refuse another number of agents where they know who they are; warn where they do by a number.

    Raises:
        UserError: saying what generalises and what cannot.
    """
    if there["n_agents"] == here["n_agents"] or here["identity"] == "none":
        return
    if here["identity"] == "number":
        logging.getLogger("mf_pmd").warning(RESPREAD, path, there["n_agents"], here["n_agents"])
        return
    raise UserError(
        f"checkpoint_path={path}: trained with n_agents={there['n_agents']}, this run has "
        f"{here['n_agents']}: identity={here['identity']} knows those agents and no others; {GENERALISES}"
    )


def read_history(output_policy: str, saved: dict[str, Any], path: str) -> ParameterHistory:
    """The iterates that an output policy is made of, on the CPU.

    Raises:
        UserError: the checkpoint keeps too few.
    """
    history = ParameterHistory(output_policy)
    if output_policy == "last":
        return history
    if saved["history"] is not None:
        history.load_state_dict(saved["history"])
    if output_policy not in history.kept():
        there = saved["meta"]["output_policy"]
        raise UserError(
            f"checkpoint_path={path}: keeps the iterates of output_policy={there}, which are too few for "
            f"output_policy={output_policy}; set output_policy={there}"
        )
    history.trim()
    return history
