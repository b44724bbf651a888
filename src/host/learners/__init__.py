"""Learners: from a batch of episodes to better networks."""

from .ppo_learner import PPOLearner

REGISTRY = {
    "ppo_learner": PPOLearner,
}
