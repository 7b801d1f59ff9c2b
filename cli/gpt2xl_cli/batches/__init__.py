"""The input and output of gpt2xl batch."""
