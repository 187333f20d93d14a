"""What forecasting reads: series on a regular step, and the network's rows of a whole series or one at a time."""
