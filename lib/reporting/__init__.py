"""Reporting: leaderboards, pictures and pages made from finished results. Not here: scores, predictions, models."""
