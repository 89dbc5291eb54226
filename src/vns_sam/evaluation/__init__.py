"""Scoring a model on the field's sets with the field's metrics."""
