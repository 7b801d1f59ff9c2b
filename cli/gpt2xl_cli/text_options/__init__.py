"""The options of a text at the command line: written once for all commands that generate."""
