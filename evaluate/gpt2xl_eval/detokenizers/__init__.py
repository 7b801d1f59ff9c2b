"""Turn the tokens of word-level data sets back into text."""
