"""Prices of assets: read, checked, made into features of past bars alone, and cut into years for walk-forward."""
