"""A number for a sequence: the `Regressor`."""
