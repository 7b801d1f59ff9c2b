"""gpt2xl eval: measure tasks, resume, and report."""
