"""Runners: they play episodes and log returns."""

from .episode_runner import EpisodeRunner

REGISTRY = {
    "episode": EpisodeRunner,
}
