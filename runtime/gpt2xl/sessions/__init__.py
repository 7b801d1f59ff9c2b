"""A loaded graph: ids in, logits out, with a KV cache."""
