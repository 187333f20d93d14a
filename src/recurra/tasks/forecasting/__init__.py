"""Forecasting: the task, and what is done with a forecaster besides fitting it."""
