"""Beam search and contrastive search, as transformers defines them; on ids, without text."""
