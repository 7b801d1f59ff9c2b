"""A case: a damaged copy and the commands that read it. Seed and number decide everything."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz.damages.damage import BYTES, Damaged
from tests.fuzz.damages.place_damage import damage_place, put_beside
from tests.fuzz.kinds import MANIFEST, Command, Kind, copy_of, kinds, seal


@dataclass(frozen=True)
class Case:
    """A damaged copy of a base."""

    kind: Kind
    what: str
    neutral: bool
    """Whether the output of the commands must not change."""
    fatal: bool
    """Whether no text can be right."""
    copy: Path
    commands: Iterator[Command]


def _drawn(seed: int, number: int) -> tuple[Random, Kind]:
    rng, every = Random(f"{seed} {number}"), kinds()
    if number < 0:
        return rng, every[-number - 1]
    return rng, rng.choices(every, [kind.share for kind in every])[0]


def kind_of(seed: int, number: int) -> Kind:
    """The kind of file that case ``number`` damages."""
    return _drawn(seed, number)[1]


def make_case(seed: int, number: int, bases: Path, work: Path) -> Case:
    """Make case ``number`` in the empty folder ``work``; negative numbers are undamaged, one for each kind."""
    rng, kind = _drawn(seed, number)
    copy = work / kind.base
    copy_of(bases / kind.base, copy)
    damaged = Damaged(b"", "undamaged", True) if number < 0 else _damage(rng, kind, copy, work)
    commands = kind.commands(rng, copy, bases)
    return Case(kind, damaged.what, damaged.neutral, damaged.fatal, copy, commands)


def _damage(rng: Random, kind: Kind, copy: Path, work: Path) -> Damaged:
    path = copy / kind.file
    if rng.random() < 0.07:
        elsewhere = work / "elsewhere"
        elsewhere.mkdir()
        change = damage_place if rng.random() < 0.6 else put_beside
        damaged = Damaged(b"", change(rng, path, elsewhere))
    else:
        damaged = _damaged(rng, kind, path.read_bytes())
        damaged = damaged._replace(neutral=damaged.neutral or kind.unread)
        path.unlink()
        path.write_bytes(damaged.content)
    if not (copy / MANIFEST).is_file() or kind.file == MANIFEST:
        return damaged
    sealed = seal(rng, copy, kind.file)
    neutral = damaged.neutral and sealed != "unsealed"
    return damaged._replace(what=f"{damaged.what}; {sealed}", neutral=neutral)


def _damaged(rng: Random, kind: Kind, content: bytes) -> Damaged:
    if kind.rare and rng.random() < 0.003:
        damages = kind.rare
    else:
        damages = kind.damages if kind.damages and rng.random() < 0.75 else BYTES
    return rng.choice(damages)(rng, content)
