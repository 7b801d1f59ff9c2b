"""Tasks that measure how well running text is predicted."""
