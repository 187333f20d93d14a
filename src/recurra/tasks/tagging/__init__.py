"""A label for each token: the `Tagger`, its metrics and baselines, its live session."""
