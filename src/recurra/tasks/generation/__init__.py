"""What comes next in a text: the `Generator`, n-grams to beat, constraints, its live session."""
