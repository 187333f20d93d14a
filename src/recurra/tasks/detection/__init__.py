"""What is unusual in a stream: the `Detector`, its alarms, its live session."""
