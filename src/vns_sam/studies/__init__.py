"""Studies: what trains models and measures them."""
