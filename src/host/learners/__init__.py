"""Learners: from a batch of episodes to better networks."""

from typing import Any

from .actor_critic_learner import ActorCriticLearner
from .ppo_learner import PPOLearner
from .q_learner import QLearner

REGISTRY: dict[str, Any] = {
    "actor_critic_learner": ActorCriticLearner,
    "ppo_learner": PPOLearner,
    "q_learner": QLearner,
}
