"""Options of a text: names, meanings, validation, defaults, and the chain that they make."""
