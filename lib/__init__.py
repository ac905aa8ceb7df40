"""Vipersight's library behind the programs: data, perception, models, losses, metrics, training, reporting."""
