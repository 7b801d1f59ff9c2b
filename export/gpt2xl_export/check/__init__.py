"""Compare exported graphs with the reference."""
