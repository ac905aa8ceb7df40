"""Scores as pure functions on tables and arrays, one file per metric family. Not here: files, settings, plots, models."""
