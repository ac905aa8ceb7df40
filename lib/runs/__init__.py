"""Who runs: drivers, trainings and their jobs on this machine or on Slurm; what is left of those that were killed."""
