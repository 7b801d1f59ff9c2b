"""Embed gpt2xl in a program: python examples/embed.py BUNDLE "Once upon a time"."""

import sys

import gpt2xl


def main() -> None:
    """Stream a text, then say how it ended."""
    folder, prompt = sys.argv[1:3]
    model = gpt2xl.load(folder)
    stream = model.stream(prompt, max_new_tokens=64, top_k=40, temperature=0.9, seed=1)
    print(prompt, end="")
    for piece in stream:
        print(piece.text, end="", flush=True)
    result = stream.result()
    print(f"\n[{len(result.new_ids)} tokens, {result.finish_reason}]")


if __name__ == "__main__":
    main()
