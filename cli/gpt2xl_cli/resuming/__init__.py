"""Files from which an interrupted command goes on."""
