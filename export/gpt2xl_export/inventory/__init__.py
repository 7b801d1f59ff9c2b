"""The models on this machine: list them, find one by its name, remove it."""
