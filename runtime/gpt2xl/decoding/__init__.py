"""From prompt ids to new ids: the decode loop, batches, sampling, speculation and the prompt cache."""
