"""Which policy a mean-field controller plays where ``agent: auto`` leaves it to the game."""

from types import SimpleNamespace

AUTO = "auto"
OF_LOCAL_STATES, OF_OBSERVATIONS = "mean_field_network", "deep_set_network"


def chosen_agent(args: SimpleNamespace) -> str:
    """The name in the registry of agents that ``agent`` stands for.

    ``auto`` is ``mean_field_network``, evaluated once a local state, where local states are numbered; and
    ``deep_set_network``, evaluated on what every agent observes, where they are too many or where the
    environment has none. Any other name is that agent.

    Args:
        args: reads ``agent``, ``population_info`` (set by the population runner, absent under any other).
    """
    if args.agent != AUTO:
        return args.agent
    info = getattr(args, "population_info", None)
    return OF_OBSERVATIONS if info is None or info["n_states"] is None else OF_LOCAL_STATES
