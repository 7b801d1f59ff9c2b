"""Measure bundles and report the figures, for gpt2xl bench."""
