"""Batches on a cluster: an input cut into parts, each of which one actor reads, continues and writes."""
