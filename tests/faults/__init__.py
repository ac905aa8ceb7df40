"""Faults put into every stage: hostile files, lying servers, full disks, killed drivers. Counts: `python -m tests.faults`."""
