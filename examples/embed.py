"""Embed gpt2xl in a program: python examples/embed.py [MODEL [PROMPT]].

MODEL is a bundle's folder, "demo", or a model on the hub; PROMPT is the text to continue.
"""

import sys

import gpt2xl


def main(model_name: str = "demo", prompt: str = "Once upon a time") -> None:
    """Print a text as it is generated, then how it ended."""
    model = gpt2xl.load(model_name)
    stream = model.stream(prompt, max_new_tokens=64, top_k=40, temperature=0.9, seed=1)
    print(prompt, end="")
    for piece in stream:
        print(piece.text, end="", flush=True)
    result = stream.result()
    print(f"\n[{len(result.new_ids)} tokens, {result.finish_reason}]")


if __name__ == "__main__":
    main(*sys.argv[1:3])
