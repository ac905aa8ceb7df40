"""The settings: one file per section, how they become a study, and what each job of it reads and is told."""
