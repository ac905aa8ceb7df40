"""Losses as pure functions, one file per loss, each with its source. Not here: what is a target (lib/models/points.py), and
which losses a task adds up (lib/tasks)."""
