"""The next item of a session."""
