"""The commands of a prompt, which begin with a slash."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from gpt2xl import GenerationOptions, RequestError
from gpt2xl.errors import counted
from gpt2xl_cli.repl.generating import Alternative, alternatives
from gpt2xl_cli.repl.option_values import NAMES, as_text
from gpt2xl_cli.repl.saved import load, save
from gpt2xl_cli.repl.state import ReplState
from gpt2xl_cli.repl.workspace import Workspace

ALTERNATIVES = 10
KEYS = (
    "A line and Enter continue the text with it; no space is put between. An empty",
    "line continues the text as it is. Alt-Enter, or a backslash at the end of a",
    "line, begins a new line; // begins a line of text with a slash. Ctrl-C stops",
    "a generation and keeps what came, Ctrl-R searches the history, Ctrl-D ends.",
)


@dataclass(frozen=True)
class Command:
    """A command: how it is typed, what it does, and the function that does it."""

    usage: str
    help: str
    run: Callable[[Workspace, str], None]
    """Gets what is typed behind the name."""

    @property
    def name(self) -> str:
        """With its slash."""
        return self.usage.split()[0]


def run_command(work: Workspace, line: str) -> None:
    """Run a line that begins with a slash.

    Raises:
        EOFError: it ends the prompt.
        Gpt2xlError, OSError: it cannot be run.
    """
    name, _, argument = line.strip().partition(" ")
    if name not in COMMANDS:
        close = get_close_matches(name, COMMANDS, 1)
        hint = f"did you mean {close[0]}?" if close else "/help lists all."
        raise RequestError(f"there is no command {name}; {hint}")
    COMMANDS[name].run(work, argument.strip())


def _help(work: Workspace, _: str) -> None:
    for line in KEYS:
        work.console.note(line)
    for command in COMMANDS.values():
        work.console.note(f"{command.usage:22} {command.help}")


def _undo(work: Workspace, _: str) -> None:
    step = work.state.history.undo()
    work.show_end(f"Undone: {step.kind}." if step else "There is nothing to undo.")


def _redo(work: Workspace, _: str) -> None:
    step = work.state.history.redo()
    work.show_end(f"Done again: {step.kind}." if step else "There is nothing to do again.")


def _regen(work: Workspace, argument: str) -> None:
    seed = _integer("a seed", argument) if argument else None
    turn = work.state.turn_again(seed)
    work.run(turn, shown_from=turn.first)


def _alt(work: Workspace, argument: str) -> None:
    words = argument.split()
    position = _position(work.state, words[0] if words else "-1")
    count = _integer("a number of alternatives", words[1], 1) if len(words) > 1 else ALTERNATIVES
    document = work.state.document
    chosen = document.ids[position] if position < len(document.ids) else None
    before = document.ids[:position] or work.facts.start_ids
    found = alternatives(work.model, work.state.shown(before), chosen, count)
    for number, alternative in enumerate(found, 1):
        mark = "*" if alternative.id == chosen else " "
        work.console.note(
            f"{number:3} {mark} {alternative.probability:7.2%}  {_token(work, alternative)}"
        )
    answer = work.ask("Number to go on from (Enter: none): ")
    if answer:
        number = _integer("an alternative", answer, 1, len(found))
        _go_on_from(work, position, found[number - 1].id)


def _position(state: ReplState, word: str) -> int:
    """The position of token ``word`` of the last generation, from 1, or from the end with a minus."""
    if word == "next":
        return len(state.document.ids)
    step = state.last_generation()
    count = len(step.document.ids) - step.first
    number = _integer("a token of the last generation", word, -count, count)
    if number == 0:
        raise RequestError(f"tokens of the last generation are numbered from 1 to {count}.")
    return step.first + number - 1 if number > 0 else len(step.document.ids) + number


def _go_on_from(work: Workspace, position: int, token_id: int) -> None:
    if token_id in work.facts.eos_token_ids:
        work.state.cut(position)
        work.show_end("The text ends there now.")
        return
    turn = work.state.turn_instead(position, token_id)
    work.run(turn, shown_from=turn.first)


def _token(work: Workspace, alternative: Alternative) -> str:
    tokenizer = work.facts.tokenizer
    if alternative.id not in tokenizer:
        return f"id {alternative.id}, which the tokenizer lacks"
    text = tokenizer.token_bytes(alternative.id).decode("utf-8", "backslashreplace")
    return json.dumps(text, ensure_ascii=False)


def _edit(work: Workspace, _: str) -> None:
    text = work.console.edit(work.state.text)
    work.show_end("The text is changed." if work.state.edit(text) else "The text is as before.")


def _set(work: Workspace, argument: str) -> None:
    name, _, value = argument.partition(" ")
    if not name:
        raise RequestError("name an option, as in: /set temperature 0.5. /options all lists them.")
    if value.strip():
        work.state.set_option(name, value.strip())
    name = name.replace("-", "_")
    if name not in NAMES:
        work.state.set_option(name, "")  # raises, and names the closest one
    work.console.note(f"{name} {as_text(getattr(work.state.options, name))}")


def _options(work: Workspace, argument: str) -> None:
    if argument not in ("", "all"):
        raise RequestError(f"/options takes nothing or the word all, but got '{argument}'.")
    options, default = work.state.options, GenerationOptions()
    for name in NAMES:
        value = getattr(options, name)
        is_changed = value != getattr(default, name)
        if is_changed or argument:
            work.console.note(f"{'*' if is_changed else ' '} {name} {as_text(value)}")
    if not argument:
        work.console.note("The others have their defaults; /options all shows them.")


def _save(work: Workspace, argument: str) -> None:
    words = argument.split(" ")
    force = "--force" in (words[0], words[-1])
    path = _path(argument.removeprefix("--force").removesuffix("--force"))
    save(work.state, path, force=force)
    work.console.note(f"Wrote {path}.")


def _load(work: Workspace, argument: str) -> None:
    work.state = load(work.facts, _path(argument))
    work.last = None
    tokens = counted(len(work.state.document.ids), "token")
    work.show_end(f"{tokens}, {counted(work.state.history.count, 'step')}:")


def _path(argument: str) -> Path:
    if not argument.strip():
        raise RequestError("name a file, as in: /save story.json, or story.txt for the text alone")
    return Path(argument.strip()).expanduser()


def _text(work: Workspace, _: str) -> None:
    work.console.write(work.state.text + "\n")


def _tokens(work: Workspace, _: str) -> None:
    ids, n_positions = work.state.document.ids, work.facts.n_positions
    if work.state.options.overflow == "slide":
        seen = f"the model sees {len(work.state.shown(ids))} of them"
    else:
        seen = f"{max(0, n_positions - len(ids))} are left"
    work.console.note(f"{counted(len(ids), 'token')}; the context is {n_positions}, and {seen}.")


def _seed(work: Workspace, argument: str) -> None:
    if argument:
        work.state.set_option("seed", "none" if argument == "random" else argument)
    following = work.state.options.seed
    last = as_text(work.state.history.last_seed)
    shown = "random" if following is None else following
    work.console.note(f"Last seed: {last}; next: {shown}. Each generation takes the next number.")


def _new(work: Workspace, _: str) -> None:
    work.state.clear()
    work.console.note("A new text; /undo brings the old one back.")


def _quit(_work: Workspace, _argument: str) -> None:
    raise EOFError


def _integer(what: str, text: str, lowest: int = 0, highest: int | None = None) -> int:
    try:
        number = int(text)
    except ValueError:
        number = None
    if number is None or number < lowest or (highest is not None and number > highest):
        span = f">= {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise RequestError(f"{what} is a whole number {span}, but this is '{text}'.")
    return number


COMMANDS = {
    command.name: command
    for command in (
        Command("/help", "this list", _help),
        Command("/undo", "take the last step back: a prompt, a generation, an edit", _undo),
        Command("/redo", "do it again", _redo),
        Command("/regen [SEED]", "the last generation again, with another seed", _regen),
        Command("/alt [K|next] [N]", "N alternatives for token K of the last generation", _alt),
        Command("/edit", "change the whole text, in $EDITOR where it is set", _edit),
        Command("/set NAME [VALUE]", "set an option, or show it; VALUE may be default", _set),
        Command("/options [all]", "options that are set, or all of them", _options),
        Command("/seed [N|random]", "the seed of the next generation", _seed),
        Command("/text", "show the whole text", _text),
        Command("/tokens", "count the tokens", _tokens),
        Command(
            "/save FILE [--force]", "write text, steps, options; to .txt or .md the text", _save
        ),
        Command("/load FILE", "read what /save wrote, in place of what is here", _load),
        Command("/new", "start a new text", _new),
        Command("/quit", "end; so does Ctrl-D", _quit),
    )
}
