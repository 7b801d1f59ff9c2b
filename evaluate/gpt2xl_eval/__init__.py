"""Measure how well a bundle predicts text: the tasks of GPT-2's model card, from files on this machine."""
