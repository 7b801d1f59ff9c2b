"""Check a finished bundle again."""
