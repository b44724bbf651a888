"""The central critic: a value for each agent from the state of all."""

from types import SimpleNamespace

from ...components.episode_batch import Scheme
from .value_critic import ValueCritic


class CentralVCritic(ValueCritic):
    """The value of the state and, if asked, of the agent's own observation and index.

    In a population game the state is the empirical distribution of all agents' local states. The own
    observation makes it the agent-specific state of Yu et al., "The Surprising Effectiveness of PPO in
    Cooperative Multi-Agent Games", 2022, section 5.2; never is it the observations of all side by side.

    Args:
        scheme: the completed scheme of the batches.
        args: ``hidden_dim``, ``obs_individual_obs``, ``obs_agent_id``, ``n_agents``.
    """

    def __init__(self, scheme: Scheme, args: SimpleNamespace):
        columns = ("state", "obs") if args.obs_individual_obs else ("state",)
        super().__init__(columns, scheme, args)
