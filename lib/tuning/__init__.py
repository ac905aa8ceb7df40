"""Search that learns from scores: which trials are trained, at which budgets, and what came of them."""
