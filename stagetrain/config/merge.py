"""How pipeline files are put together: a child over its base, `--set` over both, `${NAME}` from the environment.

merge(parse('{a: 1, b: [1, 2]}', file='base'), parse('{b: [3]}', file='child'))     # {a: 1, b: [3]}
override(root, 'stages.rpn_1.train.steps=50')
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping

from stagetrain.config import document
from stagetrain.config.document import END, ESCAPED, VARIABLE, Node, Place
from stagetrain.config.schema import source_kinds
from stagetrain.errors import ConfigError, known_names, suggestion

# Of each group exactly one key may be given, so a child that gives one displaces what its base gave.
ALTERNATIVES = (('steps', 'epochs'), source_kinds(), ('stages', 'until', 'recipe'))

OVERRIDE = '--set'
"""With this begins the place of a value that the command line gave."""
_NAME = re.compile(r'^[A-Za-z_][A-Za-z0-9_]*$')
_IN_TEXT = re.compile(f'(?P<kind>[{VARIABLE}{ESCAPED}])(?P<name>[^{END}]*){END}|(?P<open>\\$?\\$\\{{)')


def merge(base: Node, child: Node, path: tuple[str | int, ...] = ()) -> Node:
    """Returns `child` over `base`: mappings are merged, everything else is replaced.

    A child that changes the `type` of a mapping drops the options of the base's type, and one that gives `epochs` drops the
    base's `steps` (see `ALTERNATIVES`).

    Args:
      base: What is added to.
      child: What is added and replaced; its places win.
      path: Where both stand, for errors.

    Raises:
      ConfigError: The child has a mapping where the base has a list or a plain value: one of them is a slip.
    """
    if not isinstance(child.value, dict) or base.value is None:
        return child
    if not isinstance(base.value, dict):
        where = document.show_path(path) or 'the file'
        found = f'a mapping where its base has {document.plain(base)!r} ({base.place})'
        raise ConfigError(f'{child.place}: {where}: found {found}; expected both to be of one kind')
    merged = _without_displaced(base.value, child.value)
    for key, node in child.value.items():
        merged[key] = merge(merged[key], node, (*path, key)) if key in merged else node
    return Node(merged, child.place)


def override(root: Node, text: str) -> Node:
    """Returns `root` with one `PATH=VALUE` of the command line set.

    Args:
      root: The pipeline file.
      text: Keys joined by dots, stages by their names; the value is YAML and replaces what was there. Where a recipe stands in
        place of stages, keys of a stage refine the recipe.

    Raises:
      ConfigError: No `=`, a value that is not YAML, a stage or variant that is not there, or a path into a plain value.
    """
    path, equals, value = text.partition('=')
    keys = path.strip().split('.')
    if not equals or not all(keys):
        raise ConfigError(f'--set {text}: expected PATH=VALUE, e.g. --set stages.rpn_1.train.steps=50')
    if keys[0] == 'base':
        raise ConfigError(f'--set {text}: base cannot be replaced from the command line; write a file with that base')
    place = Place(f'{OVERRIDE} {text}', None, pathlib.Path.cwd())
    empty = Node(None, place)
    node = document.parse(value, file=place.file, folder=place.folder, lines=False) if value.strip() else empty
    return _assign(root, _into_recipe(root, keys), node, ())


def _into_recipe(root: Node, keys: list[str]) -> list[str]:
    """Returns `recipe.stages.rpn_1...` for `stages.rpn_1...` where a recipe stands in place of stages."""
    position = 2 if keys[0] == 'compare' else 0  # The keys in front of a pipeline's or a variant's `stages`.
    if keys[position : position + 1] != ['stages'] or len(keys) == position + 1:
        return keys
    holder: Node | None = root
    for key in keys[:position]:
        holder = holder.value.get(key) if holder is not None and isinstance(holder.value, dict) else None
    has_recipe = holder is not None and isinstance(holder.value, dict) and 'recipe' in holder.value
    return [*keys[:position], 'recipe', *keys[position:]] if has_recipe else keys


def expand(root: Node, environ: Mapping[str, str]) -> Node:
    """Returns `root` with every `${NAME}` replaced from `environ`, and `$${` by `${`.

    A path that starts with a variable is relative to the working directory, as it is in the shell where the variable was set.

    Raises:
      ConfigError: Variables that are not set, or are badly written; all are named.
    """
    problems: dict[str, str] = {}
    expanded = _expand(root, (), environ, problems)
    if problems:
        raise ConfigError('\n'.join(problems.values()))
    return expanded


def _without_displaced(base: Mapping[str, Node], child: Mapping[str, Node]) -> dict[str, Node]:
    displaced = {other for group in ALTERNATIVES if set(group) & set(child) for other in group} - set(child)
    if 'type' in base and 'type' in child and base['type'].value != child['type'].value:
        displaced.add(base['type'].value)
    return {key: node for key, node in base.items() if key not in displaced}


def _assign(node: Node, keys: list[str], value: Node, done: tuple[str | int, ...]) -> Node:
    if not keys:
        return value
    key, *rest = keys
    if isinstance(node.value, list):
        index = _index_of(node, key, value.place, done)
        items = list(node.value)
        items[index] = _assign(items[index], rest, value, (*done, index))
        return Node(items, node.place)
    if node.value is not None and not isinstance(node.value, dict):
        raise ConfigError(
            f'{value.place}: {document.show_path(done)} is {node.value!r} ({node.place}), which has no keys; set it as a whole'
        )
    mapping = node.value or {}
    if key not in mapping and rest and (done == ('compare',) or (key == 'stages' and done[-1:] != ('recipe',))):
        raise _unknown(value.place, done, key, mapping)
    new = _assign(mapping.get(key, Node({}, value.place)), rest, value, (*done, key))
    return Node({**_without_displaced(mapping, {key: new}), key: new}, node.place)


def _index_of(node: Node, name: str, place: Place, done: tuple[str | int, ...]) -> int:
    names = [item.value['name'].value for item in node.value if isinstance(item.value, dict) and 'name' in item.value]
    if len(names) != len(node.value):
        raise ConfigError(f'{place}: {document.show_path(done)} is a list ({node.place}); set it as a whole')
    if name not in names:
        raise _unknown(place, done, name, [str(name) for name in names])
    return names.index(name)


def _unknown(place: Place, done: tuple[str | int, ...], name: str, known: Iterable[str]) -> ConfigError:
    where = document.show_path(done) or 'the pipeline'
    return ConfigError(f"{place}: {where} has no '{name}'. Known here: {known_names(known)}.{suggestion(name, known)}")


def _expand(node: Node, path: tuple[str | int, ...], environ: Mapping[str, str], problems: dict[str, str]) -> Node:
    if isinstance(node.value, dict):
        return Node({key: _expand(item, (*path, key), environ, problems) for key, item in node.value.items()}, node.place)
    if isinstance(node.value, list):
        return Node([_expand(item, (*path, index), environ, problems) for index, item in enumerate(node.value)], node.place)
    if not isinstance(node.value, str):
        return node
    where = f'{node.place}: {document.show_path(path)}'

    def replace(match: re.Match[str]) -> str:
        if match['open']:
            if match['open'] == '${':
                problems[where] = f"{where}: '${{' without '}}'; write $${{ when it is meant as text"
            return '${'
        if match['kind'] == ESCAPED:
            return f'${{{match["name"]}}}'
        return _lookup(match['name'], where, environ, problems)

    place = dataclasses.replace(node.place, folder=pathlib.Path.cwd()) if node.value.startswith(VARIABLE) else node.place
    return Node(_IN_TEXT.sub(replace, node.value), place)


def _lookup(name: str, where: str, environ: Mapping[str, str], problems: dict[str, str]) -> str:
    if not _NAME.match(name):
        problems[name] = (
            f"{where}: found '${{{name}}}', expected ${{NAME}} with letters, digits and _ (no defaults); $${{ is a plain ${{"
        )
        return ''
    if not environ.get(name):
        state = 'empty' if name in environ else 'not set'
        text = f'environment variable {name} is {state}. Set it in front of the command: {name}=/path stagetrain ...'
        problems.setdefault(name, f'{where}: {text}')
        return ''
    return environ[name]
