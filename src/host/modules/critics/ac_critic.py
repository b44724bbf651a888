"""The individual critic: a value for each agent from what it observes."""

from types import SimpleNamespace

from ...components.episode_batch import Scheme
from .value_critic import ValueCritic


class ACCritic(ValueCritic):
    """The value of an agent's observation and, if asked, of its index.

    Args:
        scheme: the completed scheme of the batches.
        args: ``hidden_dim``, ``obs_agent_id``, ``n_agents``.
    """

    def __init__(self, scheme: Scheme, args: SimpleNamespace):
        super().__init__(("obs",), scheme, args)
