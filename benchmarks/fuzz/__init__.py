"""Mutated inputs at every door through which anything comes in: files, snapshots, lines, tables, text."""
