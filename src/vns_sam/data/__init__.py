"""Sets of pictures and masks, and what training makes of them."""
