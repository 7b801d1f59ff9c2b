"""Read a checkpoint: a folder or the hub, its tensors and adapters."""
