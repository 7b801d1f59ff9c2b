"""gpt2xl config."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from gpt2xl_cli.config.presets import BUILT_IN

Run = Callable[..., CompletedProcess[str]]
Refused = Callable[..., str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The config file, which does not exist yet."""
    return tmp_path / "config" / "config.toml"


@pytest.fixture
def config(run: Run) -> Callable[..., str]:
    """Run `gpt2xl config` with success; return its stdout."""

    def config(*arguments: object) -> str:
        done = run("config", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return config


def test_path_is_that_of_the_variable_or_of_the_users_folder(
    config: Callable[..., str], file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert config("path") == f"{file}\n"
    monkeypatch.delenv("GPT2XL_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    assert config("path").endswith("config.toml\n")
    assert "gpt2xl" in config("path")


def test_set_and_unset_change_one_option(config: Callable[..., str], file: Path) -> None:
    assert config("set", "top-p", "0.9") == f"Wrote {file}.\n"
    config("set", "stop_strings", "a\n", '"é\x7f')
    config("set", "--preset", "a b", "greedy", "true")
    config("set", "model", "gpt2-xl")
    config("set", "exponential-decay-length-penalty", "3", "1.5")
    defaults = {
        "top-p": 0.9,
        "stop-strings": ["a\n", '"é\x7f'],
        "model": "gpt2-xl",
        "exponential-decay-length-penalty": [3, 1.5],
    }
    assert tomllib.loads(file.read_text("utf-8")) == {
        "defaults": defaults,
        "presets": {"a b": {"greedy": True}},
    }
    config("set", "top-p", "0.8")
    config("unset", "stop-strings")
    config("unset", "--preset", "a b", "greedy")
    del defaults["stop-strings"]
    assert tomllib.loads(file.read_text("utf-8")) == {
        "defaults": defaults | {"top-p": 0.8},
        "presets": {"a b": {}},
    }


def test_comments_and_the_order_of_the_file_stay(config: Callable[..., str], file: Path) -> None:
    file.parent.mkdir()
    file.write_text(
        "# mine\n\n[presets.x]\nseed = 1\n\n[ defaults ] # all\ntop-k = 5 # few\n\n# end\n"
    )
    config("set", "--preset", "x", "seed", "2")
    config("set", "min-p", "0.1")
    text = file.read_text()
    assert text.startswith(
        "# mine\n\n[presets.x]\nseed = 2\n\n[ defaults ] # all\ntop-k = 5 # few\n"
    )
    assert "# end\n" in text
    assert tomllib.loads(text)["defaults"] == {"top-k": 5, "min-p": 0.1}


def test_an_option_keeps_the_spelling_that_the_file_has(
    config: Callable[..., str], file: Path
) -> None:
    file.parent.mkdir()
    file.write_text("[defaults]\ntop_p = 0.5\n")
    config("set", "top-p", "0.6")
    assert file.read_text() == "[defaults]\ntop_p = 0.6\n"
    config("unset", "top-p")
    assert file.read_text() == "[defaults]\n"


@pytest.mark.parametrize(
    "text",
    ["[defaults]\nstop-strings = [\n  'a',\n]\n", "defaults = { stop-strings = ['a'] }\n"],
    ids=["several lines", "inline"],
)
def test_a_file_that_the_editor_does_not_understand_stays(
    text: str, refused: Refused, file: Path
) -> None:
    file.parent.mkdir()
    file.write_text(text)
    message = refused("config", "set", "stop-strings", "b")
    assert "is written in a way that cannot be changed here: edit it" in message
    assert file.read_text() == text


REFUSALS = {
    "set topp 1": "there is no option 'topp'; did you mean 'top-p'?",
    "set top-p high": "top-p has to be a number, but is 'high'",
    "set top-p 2": "top-p has to be a number > 0 and <= 1, but is 2.0",
    "set greedy maybe": "greedy has to be true or false, but is 'maybe'",
    "set top-p 0.1 0.2": "top-p has to be a number, but is [0.1, 0.2]",
    "set overflow-keep 2": "overflow-keep and overflow-window need overflow 'slide'",
    "unset top-p": "does not set top-p there",
    "unset --preset x top-p": "does not set top-p there",
}


@pytest.mark.parametrize(("line", "message"), REFUSALS.items(), ids=REFUSALS)
def test_what_would_not_work_is_not_written(
    line: str, message: str, refused: Refused, file: Path
) -> None:
    file.parent.mkdir()
    assert message in refused("config", *line.split())
    assert not file.exists()


def test_show_prints_the_file_and_checks_it(
    config: Callable[..., str], refused: Refused, file: Path
) -> None:
    assert config("show") == f"# {file}\n[defaults]\n"
    file.parent.mkdir()
    file.write_text('[presets.mine]\nseed = 1\n\n[defaults]\nmodel = "a"\ntop_p = 0.5\n')
    printed = config("show")
    assert printed.startswith(f"# {file}\n")
    content = {
        "defaults": {"model": "a", "top_p": 0.5},
        "presets": {"mine": {"seed": 1}},
    }
    assert tomllib.loads(printed) == content
    assert json.loads(config("show", "--json")) == {"path": str(file), **content}
    file.write_text("[presets.mine]\nseed = -1\n")
    assert "config.toml', [presets.mine]: seed has to be >= 0, but is -1" in refused(
        "config", "show"
    )


def test_presets_lists_built_in_and_own_ones(config: Callable[..., str], file: Path) -> None:
    config("set", "--preset", "mine", "seed", "7")
    assert "\nmine          seed 7\n" in config("presets")
    assert json.loads(config("presets", "--json")) == {**BUILT_IN, "mine": {"seed": 7}}
