"""A text for a picture: the `Captioner`, its metrics, baselines and live session."""
