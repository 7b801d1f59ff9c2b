"""The bias probe of GPT-2's model card, from the model's probabilities."""
