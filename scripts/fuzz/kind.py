"""What the campaign of bad input draws from: kinds of files that are damaged, and scenes that are made up at random."""

from __future__ import annotations

import dataclasses
import pathlib
import random
from collections.abc import Callable, Mapping

Bomb = Callable[[pathlib.Path], bytes]
"""Makes the content of a hostile file; it may use an empty folder for that."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file: `make` writes a valid one, and what it needs beside it; `use` reads it as stagetrain does."""

    make: Callable[[pathlib.Path], pathlib.Path]
    use: Callable[[pathlib.Path], None]
    bombs: Mapping[str, Bomb] = dataclasses.field(default_factory=dict)
    needs_tensorflow: bool = False
    weight: int = 1
    """How often it is drawn."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """What somebody brings: `play` makes it up in an empty folder, uses it, and raises what is wrong with the outcome.

    It raises `commands.Refused` where stagetrain refused what it was right to refuse.
    """

    play: Callable[[pathlib.Path, random.Random], None]
    needs_tensorflow: bool = False
    weight: int = 1
