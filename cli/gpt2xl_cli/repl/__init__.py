"""`gpt2xl repl`: a text that grows at a prompt. `shell` is the loop, `console` the terminal; the rest needs neither."""
