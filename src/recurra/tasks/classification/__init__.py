"""A label for a sequence: the `Classifier`, its explanations, its baselines on text."""
