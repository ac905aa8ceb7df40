"""Data: reading sources and media, splits, shards, sampling, and the synthetic world."""
