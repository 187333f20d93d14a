"""A text for a text: the `Translator`, its metrics and baselines."""
