"""Reading, writing and fitting pictures."""
