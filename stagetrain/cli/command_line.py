"""Parses a command line: options of verbs, flags of absl and of plugins; what is not known gets the nearest name.

parser = Parser(prog='stagetrain')
verbs = parser.add_subparsers(dest='command', metavar='VERB')
options = parsed(parser, ['run', 'four.yaml', '--verbosity=1', '--tint=3'], make_parser)     # --tint: of a plugin in four.yaml
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

from absl import flags
from absl.flags import argparse_flags

from stagetrain.cli import streams
from stagetrain.errors import EXIT_BAD_INPUT, ConfigError, suggestion
from stagetrain.flags import FLAGS

_WHERE_FLAGS_ARE = 'Flags of absl (--verbosity, --log_dir, ...) and of plugins: --helpfull'


class Parser(argparse_flags.ArgumentParser):
    """A parser of a command or a verb that takes flags of absl too, which its help does not list."""

    def __init__(
        self, *, prog: str | None = None, description: str | None = None, example: str | None = None, allow_abbrev: bool = True
    ) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog='\n'.join([*([f'Example: {example}'] if example else []), _WHERE_FLAGS_ARE]),
            allow_abbrev=allow_abbrev,
            add_help=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            conflict_handler='resolve',  # `flags.accept` refuses a plugin's flag that has the name of an option.
        )
        self.add_argument('-h', '--help', action='help', help='show this help message and exit')
        self.add_argument('--helpshort', action='help', help=argparse.SUPPRESS)
        self.add_argument('--helpfull', action=_FullHelp, nargs=0, help=argparse.SUPPRESS)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:
        """Parses what it knows; a value that is wrong for a flag ends the command like one that is wrong for an option."""
        try:
            found: tuple[argparse.Namespace, list[str]] = super().parse_known_args(args, namespace)
        except (flags.Error, ValueError) as error:
            self.error(str(error))
        return found

    def error(self, message: str) -> NoReturn:
        """As argparse has it; words of the command are in the message, and a script may take them from names of files."""
        argparse.ArgumentParser.error(self, streams.harmless(message))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Adds the nearest name to argparse's message."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            nearest = suggestion(str(value), map(str, action.choices or ()))
            raise argparse.ArgumentError(action, f'{error.message}{nearest and "."}{nearest}') from error


class _FullHelp(argparse.Action):
    """Shows the help with all flags that are defined."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.print_help()
        print(f'\nFlags:\n{FLAGS.get_help()}')
        parser.exit()


def add_verb(verbs: argparse._SubParsersAction[Parser], name: str, text: str, example: str) -> Parser:
    """Adds a verb, or an action of one, with an example of its use, and returns its parser."""
    description = f'{text[0].upper()}{text[1:]}.'
    parser = verbs.add_parser(name, help=text, description=description, example=f'stagetrain {example}', allow_abbrev=False)
    assert isinstance(parser, Parser)
    return parser


def parsed(parser: Parser, words: Sequence[str], make_parser: Callable[[], Parser]) -> argparse.Namespace:
    """Parses a command's words; where an option is not known, plugins that its files name are asked for flags.

    Args:
      parser: the parser of the command line.
      words: the command line, without the program.
      make_parser: makes the parser again, with the flags that plugins have defined by then.

    Raises:
      SystemExit: as argparse does: with 0 after help, with 2 and a message when the words are wrong.
    """
    if not words:
        parser.print_help(sys.stderr)
        parser.exit(EXIT_BAD_INPUT)
    try:
        words = FLAGS.read_flags_from_files(list(words), force_gnu=True)
    except (flags.Error, ValueError) as error:
        parser.error(str(error))
    remarks: list[str] = []
    if _unknown_options(parser, words) or '--helpfull' in words:
        remarks = list(_imported_plugins(words))
        parser = make_parser()
    unknown = _unknown_options(parser, words)
    if unknown and not any(name == 'undefok' for _, name, _ in _flag_words(words)):
        _refuse(unknown, _verb_in(parser, words), remarks)
    try:
        words = list(_as_argparse_takes_them(words))
    except ValueError as error:
        parser.error(str(error))
    options, unknown = parser.parse_known_args(words)
    if unknown:
        _refuse(unknown, _verb_in(parser, words), remarks)
    return options


def _refuse(unknown: Sequence[str], parser: argparse.ArgumentParser, remarks: Sequence[str]) -> NoReturn:
    nearest = [suggestion(word.partition('=')[0], parser._option_string_actions) for word in unknown if word.startswith('-')]
    more = ''.join([*nearest, *(f' {remark}' for remark in remarks)])
    parser.error(f'unrecognized arguments: {" ".join(unknown)}{more and "."}{more}')


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Returns the options, with their dashes, of a parser and its verbs; flags of absl and plugins are none."""
    own = {option for action in parser._actions if action.dest != argparse.SUPPRESS for option in action.option_strings}
    return own.union(*(options_of(verb) for verb in verbs_of(parser).values()))


def verbs_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Returns verb -> its parser; for the parser of a verb the same of its actions."""
    choices = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(choices[0]) if choices else {}


def _verb_in(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.ArgumentParser:
    """Returns the parser of the verb, or of its action, that is among the words."""
    for word in words:
        parser = verbs_of(parser).get(word, parser)
    return parser


def _flag_words(words: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yields dashes, name and the rest from the equals sign on of the words that are options."""
    for word in words:
        if word == '--':
            return
        name, _, _ = word.partition('=')
        bare = name.lstrip('-')
        if bare != name and bare and not bare[0].isdigit():
            yield name[: len(name) - len(bare)], bare, word[len(name) :]


def _unknown_options(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Returns the words that are options of no verb, and no flags that are defined at this moment."""
    known = options_of(parser) | {'--helpfull', '--helpshort', '--undefok', '--flagfile'}
    found = [(f'{dashes}{name}', name, f'{dashes}{name}{value}') for dashes, name, value in _flag_words(words)]
    return [word for option, name, word in found if option not in known and _flag_of(name) is None]


def _flag_of(name: str) -> flags.Flag | None:
    """Returns the flag that a name, or `no` and a name, sets."""
    if name in FLAGS:
        return FLAGS[name]
    positive = name.removeprefix('no')
    return FLAGS[positive] if positive in FLAGS and FLAGS[positive].boolean else None


def _imported_plugins(words: Sequence[str]) -> Iterator[str]:
    """Imports the plugins of all pipeline files and run directories among the words; yields what was wrong with one."""
    from stagetrain.config import load
    from stagetrain.pipeline import run_files

    for word in words:
        try:
            if os.path.isfile(os.path.join(word, run_files.CONFIG)):
                load.import_resolved_plugins(pathlib.Path(word, run_files.CONFIG))
            elif word.endswith(('.yaml', '.yml')) and os.path.isfile(word):
                load.import_plugins(word, _overrides(words))
        except ConfigError as error:
            yield f'Flags of the plugins of {word} are not known: {error}'


def _overrides(words: Sequence[str]) -> Iterator[str]:
    for word, following in zip(words, [*words[1:], ''], strict=True):
        if word == '--set':
            yield following
        elif word.startswith('--set='):
            yield word.removeprefix('--set=')


def _as_argparse_takes_them(words: Sequence[str]) -> Iterator[str]:
    """Yields the words with flags in the form that argparse knows, as absl takes them: `-verbosity=1`, `--v=1`, `--flag=true`.

    Raises:
      ValueError: the value of a boolean flag is none.
    """
    left = iter(words)
    for word in left:
        found = next(_flag_words([word]), None)
        if word == '--':
            yield word
            yield from left
        elif found is None or (flag := _flag_of(found[1])) is None:
            yield word
        else:
            _, name, value = found
            if flag.boolean and value:
                name, value = (name if _is_true(flag, value[1:]) else f'no{name}'), ''
            yield f'{"-" if len(name) == 1 else "--"}{name}{value}'


def _is_true(flag: flags.Flag, value: str) -> bool:
    try:
        return bool(flag.parser.parse(value))
    except ValueError as error:
        raise ValueError(f'flag --{flag.name}={value}: expected true or false') from error


# ---- types of arguments: by them `completion` knows what to offer -------------------------------------------------------------


def folder(text: str) -> pathlib.Path:
    """A folder."""
    return pathlib.Path(text)


def pipeline_file(text: str) -> pathlib.Path:
    """A pipeline file."""
    return pathlib.Path(text)


def path_text(text: str) -> str:
    """A file or folder, or a pattern of some."""
    return text


def stage(text: str) -> str:
    """A stage of the pipeline file or run directory."""
    return text


def data_format(text: str) -> str:
    """A format of data sets."""
    return text


def written_format(text: str) -> str:
    """A format in which data sets are written."""
    return text


def export_format(text: str) -> str:
    """A format of exported networks."""
    return text
