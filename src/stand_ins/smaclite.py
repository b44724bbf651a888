"""Stands in for SMAClite, which EPyMARL imports whatever is played and no package index has."""
