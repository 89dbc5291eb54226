"""What a user gives, and what training simulates from a mask."""
