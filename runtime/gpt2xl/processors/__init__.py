"""Logits processors: penalties, biases, bans, truncation and scaling of the logits of one position."""
