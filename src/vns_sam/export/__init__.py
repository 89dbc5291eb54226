"""Models as graphs that run without torch, and in other people's programs."""
