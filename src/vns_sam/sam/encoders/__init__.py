"""Image encoders: what a SAM looks with."""
