"""Flags of absl: absl's own, such as `--verbosity`, and those that plugins define; the same in parent and child.

with of_command({'--only', '--set'}):
    ...                                # parse, import plugins, work
words = given()                        # in the parent: ('--verbosity=1', '--tint=3')
take(words)                            # in the child, after its plugins are imported
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence

from absl import flags

from stagetrain.errors import ConfigError

FLAGS = flags.FLAGS
_reserved: frozenset[str] = frozenset()
"""Options of the command that is carried out, with their dashes."""


@contextlib.contextmanager
def of_command(reserved: Collection[str]) -> Iterator[None]:
    """Keeps flags to one command: those that it gives have their defaults again after the block.

    Args:
      reserved: the command's own options, which no plugin's flag may be named like.
    """
    global _reserved
    former, before = _reserved, {flag.name for flag in _given()}
    _reserved = frozenset(reserved)
    try:
        yield
    finally:
        _reserved = former
        for flag in _given():
            if flag.name not in before:
                flag.unparse()


def given() -> tuple[str, ...]:
    """Returns the words that give another process the flags that were given to this one.

    Raises:
      ConfigError: a flag cannot be written as text, so that no other process can have it.
    """
    return tuple(word for flag in _given() for word in _words(flag))


def take(words: Sequence[str]) -> None:
    """Parses what `given` returned; flags that this process does not define are left out. Once for each process.

    Raises:
      ConfigError: a value is not one of its flag's.
    """
    if FLAGS.is_parsed():
        return
    try:
        FLAGS(['stagetrain', *words], known_only=True)
    except flags.Error as error:
        raise ConfigError(str(error)) from error


def accept() -> None:
    """Checks the flags of the plugins that were imported.

    Raises:
      ConfigError: the command has an option of that name, or a flag that is required was not given.
    """
    for name in sorted(FLAGS):
        option = f'-{name}' if len(name) == 1 else f'--{name}'
        if option in _reserved:
            module = FLAGS.find_module_defining_flag(name)
            raise ConfigError(f'plugins: {module} defines the flag {option}, which is an option of stagetrain; rename the flag')
    if FLAGS.is_parsed():
        try:
            FLAGS.validate_all_flags()
        except flags.IllegalFlagValueError as error:
            raise ConfigError(f'plugins: {error}') from error


def _given() -> list[flags.Flag]:
    """Returns the flags that are not left at their defaults; `FLAGS` holds one with a short name twice."""
    return [FLAGS[name] for name in sorted(FLAGS) if name == FLAGS[name].name and not FLAGS[name].using_default_value]


def _words(flag: flags.Flag) -> list[str]:
    try:
        if isinstance(flag, flags.MultiFlag):
            return [f'--{flag.name}={flag.serializer.serialize(item)}' for item in flag.value or ()]
        return [] if flag.value is None else [flag.serialize()]
    except (flags.Error, AttributeError) as error:
        raise ConfigError(f'flag --{flag.name}: its value cannot be passed on to child processes: {error}') from error
