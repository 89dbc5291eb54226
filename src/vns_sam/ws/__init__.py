"""WS-SAM: a segmenter that needs no prompt and learns from scribbles, points and boxes."""
