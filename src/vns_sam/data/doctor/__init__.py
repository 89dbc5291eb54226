"""A doctor for sets of pictures with masks: what is wrong with them, and what can safely be repaired."""
