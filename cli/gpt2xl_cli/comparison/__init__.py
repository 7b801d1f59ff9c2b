"""Compare two models on a text."""
