"""How a weight matrix is stored: int8, blocks of 4 or 8 bits."""
