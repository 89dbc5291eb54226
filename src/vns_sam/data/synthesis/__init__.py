"""Synthesis: pictures and strokes that are made, with masks that are exact."""
