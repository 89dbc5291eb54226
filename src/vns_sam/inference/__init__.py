"""From a picture and prompts to masks at the original size."""
