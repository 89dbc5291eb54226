"""Recipe, loop, resume and tracking."""
