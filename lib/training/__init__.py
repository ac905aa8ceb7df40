"""Engines that train. Not here: tasks, which bind data, engine and scores (lib/tasks)."""
