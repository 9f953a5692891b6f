"""Imports the plugins that a pipeline file names, before the file is checked: they register what it may then name.

import_named(root)          # plugins: [my_detectors]
"""

from __future__ import annotations

import importlib
import os
import sys
import types

from stagetrain import flags
from stagetrain.config import schema
from stagetrain.config.document import Node, Place
from stagetrain.errors import ConfigError

_folders: set[str] = set()  # Those on `sys.path` because a pipeline file named a plugin in them.


def import_named(root: Node) -> None:
    """Imports what `plugins` of a pipeline file names; what is not a list of text is left for validation.

    Raises:
      ConfigError: a plugin is not found, cannot be imported, or has the name of another module.
    """
    named = root.value.get('plugins') if isinstance(root.value, dict) else None
    if named is None or not isinstance(named.value, list):
        return
    known = set(sys.modules)
    for node in named.value:
        if isinstance(node.value, str):
            _import_plugin(node.value, node.place)
    if set(sys.modules) - known:  # A plugin may have registered a detector or a backbone.
        schema.clear_types()
    flags.accept()


def _import_plugin(name: str, place: Place) -> None:
    folder, module = os.path.split(name)
    try:
        imported = _import(module, folder)
    except ModuleNotFoundError as error:
        looked = f'{place.folder / (module + ".py")} nor as an installed module'
        text = (
            f'no such module, neither as {looked}' if error.name == module else f'it needs {error.name}, which is not installed'
        )
        raise ConfigError(f"{place}: plugins: '{name}': {text}") from error
    except Exception as error:
        raise ConfigError(f"{place}: plugins: '{name}' cannot be imported: {type(error).__name__}: {error}") from error
    file = os.path.realpath(imported.__file__ or '')
    if folder and not file.startswith(os.path.realpath(name)):
        raise ConfigError(
            f"{place}: plugins: another module named '{module}' is imported already, from {file}; rename the plugin"
        )


def _import(module: str, folder: str) -> types.ModuleType:
    """Imports a module; its folder stays importable, for what a plugin registers is imported by name later."""
    if not folder or folder in sys.path and folder not in _folders:
        return importlib.import_module(module)
    before = list(sys.path)
    _look_first_in(folder)
    try:
        return importlib.import_module(module)
    except BaseException:
        sys.path[:] = before
        raise


def _look_first_in(folder: str) -> None:
    """Puts a plugin's folder after all that is installed, and before the folders of other plugins."""
    others = [path for path in sys.path if path in _folders and path != folder]
    _folders.add(folder)
    sys.path[:] = [path for path in sys.path if path not in _folders] + [folder, *others]
    importlib.invalidate_caches()
