"""Pseudo-labels: from strokes, points or boxes to maps that a segmenter can learn from, by any promptable model."""
