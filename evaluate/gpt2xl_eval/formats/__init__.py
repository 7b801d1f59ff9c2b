"""Read data sets as they are distributed."""
