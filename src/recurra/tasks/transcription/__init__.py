"""What is said in a recording: the `Transcriber`, its search, its language model."""
