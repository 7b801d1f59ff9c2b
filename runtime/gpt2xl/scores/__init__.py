"""How probable texts are: of whole texts, and of continuations."""
