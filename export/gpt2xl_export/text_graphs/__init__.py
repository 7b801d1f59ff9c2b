"""Text graphs: the whole generation in one graph, from ids or a string to text; docs/bundle.md is their contract."""
