"""GPT-2's forward pass in numpy, which exported graphs are checked against."""
