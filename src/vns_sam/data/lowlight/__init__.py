"""Darkness for annotated pictures: a camera model, whole sets made dark, unpaired pictures to learn darkness from."""
