"""The calls of transformers' pipelines, with the structures that they return."""
