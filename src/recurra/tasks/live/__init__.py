"""Live sessions, without torch: an answer after every observation, in the bits of answers to whole sequences."""
