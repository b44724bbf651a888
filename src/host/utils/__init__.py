"""Configuration, logging, checkpoints, random states and progress of the host."""
