"""The prompt and the output of gpt2xl generate."""
