"""Tasks that ask for the last word, or for the best of several endings."""
