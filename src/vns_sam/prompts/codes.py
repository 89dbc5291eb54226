"""What the pixels of a label map say."""

UNLABELLED, OBJECT, BACKGROUND = 0, 1, 2
