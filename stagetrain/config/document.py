"""YAML text to values that know where they stand, and back.

The Python YAML library follows YAML 1.1, where `1e-3` is text, `on` is true, `010` is 8, `12:30:00` is 45000 and the last of two
equal keys wins silently. Here numbers and booleans are those of YAML 1.2, `010` and `12:30:00` are text, and what could surprise
(equal keys, tags, a few bytes that expand to gigabytes) is refused with file and line.

    node = parse('stages:\n  - {name: rpn_1}', file='a.yaml')
    plain(node)                     # {'stages': [{'name': 'rpn_1'}]}
    places(node)[('stages', 0)]     # 'a.yaml:2'
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import yaml

from stagetrain.errors import ConfigError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 40
MAX_VALUES = 100_000

NULL = re.compile(r'^(?:~|null|Null|NULL|)$')
BOOL = re.compile(r'^(?:true|True|TRUE|false|False|FALSE)$')
INT = re.compile(r'^[-+]?(?:0|[1-9][0-9]{0,17})$')
FLOAT = re.compile(
    r'^(?:[-+]?(?:(?:\.[0-9]+|(?:0|[1-9][0-9]*)\.[0-9]*)(?:[eE][-+]?[0-9]+)?|(?:0|[1-9][0-9]*)[eE][-+]?[0-9]+)'
    r'|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$'
)

# `{path: ${BCCD}}` is no YAML: a plain value ends at a brace. So `${NAME}` is swapped for these characters of Unicode's private
# use area before YAML sees it, and an expanded value is never read as YAML.
VARIABLE, ESCAPED, END = '\ue000', '\ue001', '\ue002'
_REFERENCE = re.compile(r'(\$?)\$\{([^{}\n]*)\}')
_MARKED = re.compile(f'([{VARIABLE}{ESCAPED}])([^{END}]*){END}')


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a value stands: a file as it is shown, a line from 1, and the folder that relative paths start from."""

    file: str
    line: int | None
    folder: pathlib.Path

    def __str__(self) -> str:
        return self.file if self.line is None else f'{self.file}:{self.line}'


@dataclasses.dataclass(frozen=True)
class Node:
    """A value and its place: `value` is a dict of nodes, a list of nodes, or a scalar."""

    value: Any
    place: Place


class _Loader(yaml.SafeLoader):
    """Composes nodes; every plain scalar stays text, and is given its type by `_scalar`."""

    yaml_implicit_resolvers: dict[str, Any] = {}
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if getattr(event, 'tag', None) is not None:
            raise yaml.MarkedYAMLError(problem=f"tag '{event.tag}' is not allowed: remove it", problem_mark=event.start_mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f'nested deeper than {MAX_DEPTH} levels', problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes text that YAML 1.1 or YAML 1.2 would read as something else; writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_implicit_resolver('tag:yaml.org,2002:int', INT, list('-+0123456789'))
_Dumper.add_implicit_resolver('tag:yaml.org,2002:float', FLOAT, list('-+.0123456789'))


def read(path: pathlib.Path, shown_as: str, *, variables: bool = True) -> Node:
    """Reads a YAML file.

    Args:
      path: The file.
      shown_as: How the file is called in errors.
      variables: Whether `${NAME}` is a reference (see `expand_text`) or text.

    Raises:
      ConfigError: The file is missing, a folder, larger than `MAX_BYTES`, not UTF-8, empty or not valid YAML.
    """
    try:
        with path.open('rb') as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(f'{shown_as}: no such file') from error
    except IsADirectoryError as error:
        raise ConfigError(f'{shown_as}: is a folder; expected a YAML file') from error
    except OSError as error:
        raise ConfigError(f'{shown_as}: cannot be read: {error.strerror}') from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f'{shown_as}: larger than {MAX_BYTES} bytes; a pipeline file has a few thousand')
    try:
        text = content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        raise ConfigError(
            f'{shown_as}:{line}: not UTF-8 text (byte {content[error.start]:#04x}); save the file as UTF-8'
        ) from error
    return parse(text, file=shown_as, folder=path.parent, variables=variables)


def parse(text: str, *, file: str, folder: pathlib.Path = pathlib.Path(), variables: bool = True, lines: bool = True) -> Node:
    """Parses one YAML document.

    Args:
      text: The document.
      file: How its place is called in errors.
      folder: What relative paths in it start from.
      variables: Whether `${NAME}` is a reference or text.
      lines: Whether places name lines; an override on the command line has none.

    Raises:
      ConfigError: `text` is empty, not valid YAML, or uses what is refused here.
    """
    if variables:
        if any(mark in text for mark in (VARIABLE, ESCAPED, END)):
            raise ConfigError(f"{file}: holds a character of Unicode's private use area (U+E000 to U+E002); remove it")
        text = _REFERENCE.sub(lambda match: f'{ESCAPED if match[1] else VARIABLE}{match[2]}{END}', text)
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax_error(error, file, lines)) from error
    except yaml.YAMLError as error:
        raise ConfigError(f'{file}: not valid YAML: {" ".join(str(error).split())}') from error
    finally:
        if loader is not None:
            loader.dispose()
    if root is None:
        raise ConfigError(f'{file}: is empty; expected a pipeline')
    return _Builder(file, folder, lines).build(root)


def dump(value: Any, *, allow_unicode: bool = True) -> str:
    """Returns YAML text that `parse(..., variables=False)` and any YAML 1.1 or 1.2 reader turn back into an equal value.

    Args:
      value: any plain value.
      allow_unicode: whether letters outside ASCII stand as they are; otherwise YAML's own escapes stand for them.
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode, width=10_000)


def from_plain(value: Any, place: Place) -> Node:
    """Returns nodes for a plain value, all at one place."""
    if isinstance(value, dict):
        return Node({key: from_plain(item, place) for key, item in value.items()}, place)
    if isinstance(value, list):
        return Node([from_plain(item, place) for item in value], place)
    return Node(value, place)


def plain(node: Node) -> Any:
    """Returns the value of a node and of all nodes in it, without places."""
    if isinstance(node.value, dict):
        return {key: plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value


def walk(node: Node, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Node]]:
    """Yields the path and node of `node` and of all nodes in it."""
    yield path, node
    items = node.value.items() if isinstance(node.value, dict) else enumerate(node.value) if isinstance(node.value, list) else ()
    for key, item in items:
        yield from walk(item, (*path, key))


def places(node: Node) -> dict[tuple[str | int, ...], str]:
    """Returns path -> `file:line` of everything in `node`."""
    return {path: str(item.place) for path, item in walk(node)}


def show_path(path: tuple[str | int, ...]) -> str:
    """Returns a path as users write it: `stages[0].train.steps`."""
    text = ''.join(f'[{part}]' if isinstance(part, int) else f'.{part}' for part in path)
    return text.removeprefix('.')


def unmark(text: str) -> str:
    """Returns text with its references written as they stood in the file."""
    return _MARKED.sub(lambda match: f'{"$$" if match[1] == ESCAPED else "$"}{{{match[2]}}}', text)


class _Builder:
    """Turns YAML nodes into ours and counts them, so that aliases cannot multiply into gigabytes."""

    def __init__(self, file: str, folder: pathlib.Path, lines: bool) -> None:
        self._file = file
        self._folder = folder
        self._lines = lines
        self._num_values = 0

    def build(self, node: yaml.Node, key: yaml.Node | None = None, depth: int = 0) -> Node:
        """Returns `node`; its place is the line of its key, for there a reader looks."""
        place = self._place(key or node)
        self._num_values += 1
        if depth > MAX_DEPTH or self._num_values > MAX_VALUES:
            raise ConfigError(
                f'{place}: aliases (`*name`) expand to more than {MAX_VALUES} values or {MAX_DEPTH} levels; write them out'
            )
        if isinstance(node, yaml.MappingNode):
            return Node(self._mapping(node, depth), place)
        if isinstance(node, yaml.SequenceNode):
            return Node([self.build(item, depth=depth + 1) for item in node.value], place)
        assert isinstance(node, yaml.ScalarNode)
        return Node(_scalar(node) if node.style is None else node.value, place)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Node]:
        result: dict[str, Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f'{self._place(key)}: found a list or mapping as key; expected a name')
            name = unmark(key.value)
            if name == '<<' and key.style is None:
                raise ConfigError(
                    f"{self._place(key)}: merge keys ('<<') are not read; write the keys out, or name a file with them as base"
                )
            if name in result:
                raise ConfigError(f"{self._place(key)}: key '{name}' is given twice, first at {result[name].place}; keep one")
            result[name] = self.build(value, key, depth + 1)
        return result

    def _place(self, node: yaml.Node) -> Place:
        return Place(self._file, node.start_mark.line + 1 if self._lines else None, self._folder)


def _scalar(node: yaml.ScalarNode) -> None | bool | int | float | str:
    text = node.value
    if NULL.match(text):
        return None
    if BOOL.match(text):
        return text.lower() == 'true'
    if INT.match(text):
        return int(text)
    if FLOAT.match(text):
        return float(text.lower().replace('.inf', 'inf').replace('.nan', 'nan'))
    return text


def _syntax_error(error: yaml.MarkedYAMLError, file: str, lines: bool) -> str:
    mark = error.problem_mark or error.context_mark
    place = f'{file}:{mark.line + 1}' if lines and mark is not None else file
    context = f' ({error.context}, line {error.context_mark.line + 1})' if error.context and error.context_mark and lines else ''
    remedy = '; indent with spaces' if "'\\t'" in (error.problem or '') else ''
    return unmark(f'{place}: not valid YAML: {error.problem}{context}{remedy}')


def absolute(path: str, folder: pathlib.Path) -> str:
    """Returns `path`, relative to `folder`, as an absolute path; symbolic links stay as they are."""
    return os.path.abspath(folder / path)
