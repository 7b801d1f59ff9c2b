"""Text: the tokenizer, prompts, and what a generation returns."""
