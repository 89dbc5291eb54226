"""Formats: a file for each format that other tools know, which reads and writes it."""
