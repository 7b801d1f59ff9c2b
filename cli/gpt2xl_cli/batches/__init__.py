"""The input, output and resume file of gpt2xl batch."""
