"""How well a mask matches the truth."""
