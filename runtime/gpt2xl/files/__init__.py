"""Read and write files safely; nothing in them is trusted."""
