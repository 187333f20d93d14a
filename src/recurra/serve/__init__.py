"""Models that outlive a process: streams of lines, their format and their journal."""
