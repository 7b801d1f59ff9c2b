"""The model type `gpt2xl` of lm-evaluation-harness."""
