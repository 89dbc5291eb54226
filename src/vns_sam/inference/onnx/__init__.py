"""Models that run in ONNX Runtime, without torch: the same protocol over graphs that ``vns_sam.export`` wrote."""
