"""Runs: work on many items that can be stopped, repeated and spread over processes."""
