"""VNS-SAM: low-level features mined for what hardly stands out, read by mask and edge tokens."""
