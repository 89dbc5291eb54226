"""One command's work on many processors and machines, by Ray."""
