"""Texts, scores and features of a table's rows, for engines that run Python functions on batches of rows."""
