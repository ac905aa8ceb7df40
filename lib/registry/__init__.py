"""Every run in one list, derived from the runs' own records: what `registry`, `compare` and `status --show` do."""
