"""How the trainings of a study stand: what `status` does."""
