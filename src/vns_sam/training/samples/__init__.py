"""Samples: what a training step learns from, each a function of seed and position."""
