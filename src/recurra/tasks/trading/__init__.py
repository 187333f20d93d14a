"""From prices to positions: the `Trader`, accounts after costs, rivals, the proof that no position knows the future."""
