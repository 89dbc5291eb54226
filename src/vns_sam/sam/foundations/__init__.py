"""Models that a SAM can be besides Meta's first: one module for each, which knows its files and its numbers."""
