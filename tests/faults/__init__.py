"""Faults put into every stage: hostile files, lying servers, full disks, killed drivers: `python -m tests.faults`."""
