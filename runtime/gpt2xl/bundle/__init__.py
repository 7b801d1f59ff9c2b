"""What a bundle folder holds: config, manifest, graphs and their external weights."""
