"""Make one tokenizer.json of a checkpoint's tokenizer files, and check it."""
