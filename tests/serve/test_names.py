"""Clients of llama.cpp's server and of text-generation-webui are understood."""

from typing import Any

import pytest

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("uvicorn", reason="the server needs the extra serve")

from gpt2xl_serve.completions.names import with_our_names
from gpt2xl_serve.errors import ApiError

MIKUPAD: dict[str, Any] = {
    "model": "demo", "prompt": "Once", "stream": True, "temperature": 0.7, "dynatemp_range": 0.1, "dynatemp_exponent": 1,
    "dynamic_temperature": True, "dynatemp_low": 0.6, "dynatemp_high": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0,
    "typical_p": 1, "tfs": 1, "mirostat_mode": 0, "mirostat_tau": 5, "mirostat_eta": 0.1, "repetition_penalty": 1.1,
    "repetition_penalty_range": 256, "penalize_nl": False, "presence_penalty": 0, "frequency_penalty": 0, "xtc_threshold": 0.1,
    "xtc_probability": 0, "dry_multiplier": 0, "dry_base": 1.75, "dry_allowed_length": 2, "dry_penalty_last_n": -1,
    "dry_sequence_breakers": '["\\n", ":"]', "max_tokens": 20, "max_context_length": 1024, "logprobs": 10,
    "ban_eos_token": False, "grammar_string": "", "stop": ["\n"], "cache_prompt": True,
}  # fmt: skip
"""A request as mikupad makes it for a server with OpenAI's protocol."""


def test_a_request_of_mikupad_has_our_names() -> None:
    found = with_our_names(dict(MIKUPAD))
    assert found == {
        "model": "demo", "prompt": "Once", "stream": True, "temperature": 0.7, "dynatemp_range": 0.1,
        "dynatemp_exponent": 1, "top_k": 40, "top_p": 0.95, "min_p": 0, "typical_p": 1, "repetition_penalty": 1.1,
        "repetition_window": 256, "presence_penalty": 0, "frequency_penalty": 0, "xtc_threshold": 0.1,
        "xtc_probability": 0, "dry_multiplier": 0, "dry_base": 1.75, "dry_allowed_length": 2, "dry_window": 0,
        "dry_sequence_breakers": ["\n", ":"], "max_tokens": 20, "logprobs": 10, "ignore_eos": False, "stop": ["\n"],
    }  # fmt: skip


def test_minus_1_is_none_or_all() -> None:
    found = with_our_names({"seed": -1, "top_k": -1, "repeat_last_n": -1.0})
    assert found == {"seed": None, "top_k": 0, "repetition_window": 0}
    assert with_our_names({"seed": True}) == {"seed": True}


def test_mirostat_2_keeps_its_numbers() -> None:
    found = with_our_names({"mirostat": 2, "mirostat_tau": 3})
    assert found == {"mirostat_tau": 3}


@pytest.mark.parametrize(
    "content",
    [
        {"tfs_z": 0.9},
        {"tfs_z": []},
        {"mirostat": 1},
        {"mirostat": "2"},
        {"dry_sequence_breakers": "["},
        {"repeat_last_n": 1, "repetition_penalty_range": 2},
    ],
)
def test_what_cannot_be_done_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refused:
        with_our_names(content)
    assert refused.value.status == 400
