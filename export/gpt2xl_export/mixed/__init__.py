"""Mixed precision: the format of each matrix, chosen by what it costs in exactness and in bytes."""
