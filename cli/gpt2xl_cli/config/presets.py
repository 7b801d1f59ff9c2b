"""Presets that gpt2xl brings along."""

from collections.abc import Mapping

Table = Mapping[str, object]
"""Options by name, as in the config file."""

BUILT_IN: Mapping[str, Table] = {
    "precise": {"greedy": False, "temperature": 0.3, "top-p": 0.9},
    "creative": {
        "greedy": False,
        "temperature": 1.0,
        "top-k": 0,
        "min-p": 0.05,
        "repetition-penalty": 1.1,
    },
    "llama.cpp": {
        "greedy": False,
        "sampler-order": "llama.cpp",
        "top-k": 40,
        "top-p": 0.95,
        "min-p": 0.05,
        "temperature": 0.8,
    },
    "transformers": {
        "greedy": False,
        "temperature": 1.0,
        "top-k": 50,
        "top-k-keeps-ties": True,
        "top-p": 1.0,
    },
    "pipeline": {
        "greedy": False,
        "max-new-tokens": 256,
        "temperature": 0.7,
        "top-k": 50,
        "top-k-keeps-ties": True,
        "top-p": 1.0,
    },
    "openai": {
        "greedy": False,
        "max-new-tokens": 16,
        "temperature": 1.0,
        "top-k": 0,
        "top-p": 1.0,
    },
}
"""llama.cpp: the defaults of llama-cli. transformers: of generate(do_sample=True). pipeline: of
pipeline("text-generation"). openai: of OpenAI's completions."""
