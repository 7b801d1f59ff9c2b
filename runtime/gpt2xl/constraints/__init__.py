"""What a text may hold: grammars, and token healing, which repeats the end of a prompt."""
