"""The sets of the field: what they are, and how they are built from what was downloaded."""
