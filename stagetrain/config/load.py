"""A pipeline file, read: base files, overrides and environment applied, checked against the schema.

loaded = load_pipeline('configs/bccd/four_step.yaml', overrides=['stages.rpn_1.train.steps=50'])
loaded.pipeline.stages[0].train.steps      # 50
loaded.place(('stages', 0, 'name'))        # 'configs/bccd/four_step.yaml:31'
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from stagetrain.config import artefacts, document, lengths, plugins, recipe_budgets, recipe_nodes, schema, stage_kinds
from stagetrain.config.document import Node, Place
from stagetrain.config.merge import OVERRIDE, expand, merge, override
from stagetrain.config.recipe_nodes import GivenBudget
from stagetrain.config.validation import Invalid, Problem, raise_problems, validated
from stagetrain.errors import ConfigError

MAX_BASES = 10
# Keys that a file may have at top level and that are gone from the resolved pipeline.
FILE_KEYS = ('base', 'recipe', 'train')


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A pipeline and where each of its values comes from."""

    pipeline: schema.PipelineBase
    resolved: dict[str, Any]
    """What the user gave, with bases, overrides, environment and recipes applied; `load_resolved` turns it into an equal
    pipeline."""
    places: Mapping[tuple[str | int, ...], str]
    """Path -> `file:line`."""
    path: pathlib.Path | None
    """The file, absolute; None for a dict."""
    common_places: Mapping[tuple[str | int, ...], str] = dataclasses.field(default_factory=dict)
    """Path below the top-level `train`, from `train` on -> `file:line`."""
    unmeasured: tuple[GivenBudget, ...] = ()
    """Budgets of time. Their stages have the file's own steps, or one, until the speed is measured; see `with_lengths`."""
    length_notes: tuple[str, ...] = ()
    """How lengths were decided that this machine's speed decides, in words."""

    def place(self, path: tuple[str | int, ...]) -> str:
        """Returns `file:line` of a value, or of the nearest mapping around it that stands in a file."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path]

    def is_overridden(self, path: tuple[str | int, ...]) -> bool:
        """Returns whether the command line gave a value."""
        return self.place(path).startswith(OVERRIDE)

    def is_common(self, path: tuple[str | int, ...]) -> bool:
        """Returns whether a value of a stage's `train` is that of the top-level `train`, and not the stage's own."""
        return self.places.get(path, '') == self.common_places.get(path[path.index('train') :])


def load_pipeline(
    source: str | os.PathLike[str] | Mapping[str, Any],
    overrides: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Reads a pipeline file, or a mapping that holds what a file would.

    Args:
      source: The file, or the mapping; relative paths in it start from the file's folder, or from the working directory.
      overrides: `PATH=VALUE` each, applied in order over the file and its bases.
      environ: Values of `${NAME}`; the process's environment when None.

    Returns:
      The pipeline, with values of the right types; `check.check_pipeline` then looks across fields.

    Raises:
      ConfigError: The file cannot be read, or something in it is wrong; everything found is listed.
    """
    path = None if isinstance(source, Mapping) else pathlib.Path(source).absolute()
    root = _given(source, overrides, os.environ if environ is None else environ)
    plugins.import_named(root)
    expanded = _map_stages(recipe_nodes.expand_recipes(root), _with_absolute_artefact_paths)
    spread, problems = _spread_train(expanded)
    asked = recipe_nodes.budgets(root)
    loaded = _finish(_with_budgets(spread, asked), path, problems, FILE_KEYS)
    common = {path: place for path, place in document.places(expanded).items() if path[:1] == ('train',)}
    unmeasured = tuple(one for one in asked if one.budget.is_time and one.stages)
    return dataclasses.replace(loaded, common_places=common, unmeasured=unmeasured)


def _with_budgets(root: Node, asked: Iterable[GivenBudget]) -> Node:
    """Returns a file with the steps that budgets give its stages; a budget of time gives one to those that have no length yet."""
    deciding = {stage_id: one for one in asked for stage_id in one.stages}

    def changed(stage_id: str, stage: Node) -> Node:
        one = deciding.get(stage_id)
        if one is None or (one.budget.is_time and lengths.has_steps(stage)):
            return stage
        steps = 1 if one.budget.is_time else recipe_budgets.steps(one.recipe, one.budget)[one.stages[stage_id]]
        return lengths.with_steps(stage, steps, one.place)

    return _map_stages_by_id(root, changed)


def with_lengths(loaded: Loaded, steps: Mapping[str, int]) -> Loaded:
    """Returns a pipeline in which stages have other steps, and schedules stretched to them (see `lengths`).

    Args:
      loaded: a checked pipeline.
      steps: stage id -> its new `train.steps`.
    """
    return _changed(
        loaded, lambda stage_id, stage, place: lengths.with_steps(stage, steps[stage_id], place) if stage_id in steps else stage
    )


def with_factors(loaded: Loaded, factors: Mapping[str, Fraction]) -> Loaded:
    """Returns a pipeline in which stages are so many times as long, and their schedules with them (see `lengths`).

    Args:
      loaded: a checked pipeline.
      factors: stage id -> what its length is multiplied by.
    """
    return _changed(
        loaded,
        lambda stage_id, stage, place: lengths.by_factor(stage, factors[stage_id], place) if stage_id in factors else stage,
    )


def _changed(loaded: Loaded, change: Callable[[str, Node, Place], Node]) -> Loaded:
    place = Place('resolved pipeline', None, pathlib.Path.cwd())
    root = document.from_plain(loaded.resolved, place)
    found = _finish(_map_stages_by_id(root, lambda stage_id, stage: change(stage_id, stage, place)), loaded.path)
    return dataclasses.replace(loaded, pipeline=found.pipeline, resolved=found.resolved)


def with_own_stages(loaded: Loaded) -> Loaded:
    """Returns a pipeline whose variants `until: STAGE` have stages of their own: copies of the pipeline's up to there."""

    def stages(until: str) -> list[Any]:
        names = [stage['name'] for stage in loaded.resolved['stages']]
        return list(loaded.resolved['stages'][: names.index(until) + 1])

    variants = {
        name: {'stages': stages(variant['until'])} if variant.get('until') is not None else variant
        for name, variant in (loaded.resolved.get('compare') or {}).items()
    }
    if not variants:
        return loaded
    found = load_resolved({**loaded.resolved, 'compare': variants})
    return dataclasses.replace(loaded, pipeline=found.pipeline, resolved=found.resolved)


def load_resolved(source: str | os.PathLike[str] | Mapping[str, Any]) -> Loaded:
    """Reads what `Loaded.resolved` was written to: a file (`run.yaml`) or the dict itself.

    There is no base, no override and no environment; text with `${` is text.

    Raises:
      ConfigError: The file cannot be read or is not a resolved pipeline.
    """
    root = _resolved(source)
    plugins.import_named(root)
    return _finish(root, None if isinstance(source, Mapping) else pathlib.Path(source).absolute())


def import_plugins(source: str | os.PathLike[str], overrides: Iterable[str] = ()) -> None:
    """Imports the plugins of a pipeline file, for the flags that they define; looks at nothing else in it.

    Raises:
      ConfigError: The file cannot be read, or a plugin cannot be imported.
    """
    plugins.import_named(_given(source, overrides, os.environ))


def import_resolved_plugins(source: str | os.PathLike[str] | Mapping[str, Any]) -> None:
    """Imports the plugins of what `load_resolved` reads, as `import_plugins` does."""
    plugins.import_named(_resolved(source))


def dump_resolved(loaded: Loaded, *, allow_unicode: bool = True) -> str:
    """Returns the YAML text of a resolved pipeline, as `document.dump`; `load_resolved` of a file with it gives an equal one."""
    return document.dump(loaded.resolved, allow_unicode=allow_unicode)


def _given(source: str | os.PathLike[str] | Mapping[str, Any], overrides: Iterable[str], environ: Mapping[str, str]) -> Node:
    """Returns what a file or mapping holds, with bases, overrides and the environment applied, and paths absolute."""
    if isinstance(source, Mapping):
        root = _with_bases(
            document.from_plain(dict(source), Place('pipeline', None, pathlib.Path.cwd())), 'pipeline', environ, ()
        )
    else:
        root = _read_with_bases(pathlib.Path(source).absolute(), os.fspath(source), environ, ())
    for text in overrides:
        root = recipe_nodes.long_form(override(root, text))
    return _with_absolute_paths(expand(root, environ))


def _resolved(source: str | os.PathLike[str] | Mapping[str, Any]) -> Node:
    if isinstance(source, Mapping):
        return document.from_plain(dict(source), Place('resolved pipeline', None, pathlib.Path.cwd()))
    return document.read(pathlib.Path(source), os.fspath(source), variables=False)


def _finish(root: Node, path: pathlib.Path | None, common: Sequence[Problem] = (), more_keys: Iterable[str] = ()) -> Loaded:
    root = _long_init(root)
    result = validated(root, schema.pipeline_type(), more_keys)
    if isinstance(result, Invalid):
        # A mistake in the top-level `train` shows again in every stage: it is told once, where it stands.
        others = [problem for problem in result.problems if not any(_is_repeated(problem, known) for known in common)]
        raise_problems(map(str, [*common, *others]), result.error)
    if common:
        raise_problems(map(str, common))
    return Loaded(result, document.plain(root), document.places(root), path)


def _is_repeated(problem: Problem, common: Problem) -> bool:
    """Whether a stage repeats a mistake in the top-level `train`."""
    inside = problem.path[problem.path.index('train') :] if 'train' in problem.path else ()
    return (inside, problem.place, problem.text) == (common.path, common.place, common.text)


def _read_with_bases(path: pathlib.Path, shown_as: str, environ: Mapping[str, str], above: tuple[str, ...]) -> Node:
    return _with_bases(document.read(path, shown_as), shown_as, environ, (*above, os.path.realpath(path)))


def _with_bases(root: Node, shown_as: str, environ: Mapping[str, str], above: tuple[str, ...]) -> Node:
    root = recipe_nodes.long_form(root)
    if not isinstance(root.value, dict):
        raise ConfigError(f'{shown_as}: found {type(root.value).__name__}, expected a mapping with model, data, stages')
    if 'base' not in root.value:
        return root
    base = expand(root.value['base'], environ)
    if not isinstance(base.value, str):
        raise ConfigError(f'{base.place}: base: found {document.plain(base)!r}; expected the path of one file')
    base_path = pathlib.Path(document.absolute(base.value, base.place.folder))
    if os.path.realpath(base_path) in above or len(above) > MAX_BASES:
        raise ConfigError(f"{base.place}: base: '{base.value}' leads back to a file that has it as base; remove one of them")
    if base_path.is_dir():
        raise ConfigError(f"{base.place}: base: '{base.value}' is a folder ({base_path}); expected a pipeline file")
    if not base_path.is_file():
        raise ConfigError(f"{base.place}: base: no such file: '{base.value}' (looked for {base_path})")
    own = Node({key: node for key, node in root.value.items() if key != 'base'}, root.place)
    return merge(_read_with_bases(base_path, _shown(base_path), environ, above), own)


def _shown(path: pathlib.Path) -> str:
    """Returns a path as short as it can be shown from the working directory."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir + os.sep + os.pardir) else relative


def _spread_train(root: Node) -> tuple[Node, list[Problem]]:
    """Takes the top-level `train` out and puts it under every stage's own; also returns what is wrong in it."""
    if 'train' not in root.value:
        return root, []
    default = root.value['train']
    rest = Node({key: node for key, node in root.value.items() if key != 'train'}, root.place)
    return _map_stages(rest, lambda stage: _with_train(stage, default)), _train_problems(default)


class _Defaults(schema.Strict):
    train: schema.Train


def _train_problems(default: Node) -> list[Problem]:
    result = validated(Node({'train': default}, default.place), _Defaults)
    # What a stage adds is no mistake here; what is of a wrong type or name is, even where every stage replaces it.
    problems = result.problems if isinstance(result, Invalid) else []
    return [problem for problem in problems if problem.kind not in ('missing', 'value_error')]


def _with_train(stage: Node, default: Node) -> Node:
    if not isinstance(stage.value, dict) or _does_not_train(stage):
        return stage
    train = merge(default, stage.value['train'], ('train',)) if 'train' in stage.value else default
    return Node({**stage.value, 'train': train}, stage.place)


def _does_not_train(stage: Node) -> bool:
    kind = stage.value.get('kind')
    return kind is not None and stage_kinds.does_not_train(kind.value)


def _long_init(root: Node) -> Node:
    """Writes `{backbone: imagenet}` as `{backbone: {from: imagenet}}`, so that resolved files have one form."""
    return _map_stages(root, _stage_with_long_init)


def _stage_with_long_init(stage: Node) -> Node:
    init = stage.value.get('init') if isinstance(stage.value, dict) else None
    if init is None or not isinstance(init.value, dict):
        return stage
    long = {
        module: document.from_plain(schema.long_origin(origin.value), origin.place) if isinstance(origin.value, str) else origin
        for module, origin in init.value.items()
    }
    return Node({**stage.value, 'init': Node(long, init.place)}, stage.place)


def _map_stages(root: Node, change: Callable[[Node], Node]) -> Node:
    """Returns `root` with every stage changed, the pipeline's and its variants'; what is malformed stays for validation."""
    if not isinstance(root.value, dict):
        return root
    root = _map_list(root, change)
    compare = root.value.get('compare')
    if compare is None or not isinstance(compare.value, dict):
        return root
    variants = {name: _map_list(variant, change) for name, variant in compare.value.items()}
    return Node({**root.value, 'compare': Node(variants, compare.place)}, root.place)


def _map_stages_by_id(root: Node, change: Callable[[str, Node], Node]) -> Node:
    """Returns `root` with every well-formed stage changed, given its id too."""

    def named(variant: str) -> Callable[[Node], Node]:
        def changed(stage: Node) -> Node:
            name = stage.value.get('name') if isinstance(stage.value, dict) else None
            return change(f'{variant}{name.value}', stage) if name is not None else stage

        return changed

    root = _map_list(root, named(''))
    compare = root.value.get('compare')
    if compare is None or not isinstance(compare.value, dict):
        return root
    variants = {name: _map_list(variant, named(f'{name}.')) for name, variant in compare.value.items()}
    return Node({**root.value, 'compare': Node(variants, compare.place)}, root.place)


def _map_list(holder: Node, change: Callable[[Node], Node]) -> Node:
    stages = holder.value.get('stages') if isinstance(holder.value, dict) else None
    if stages is None or not isinstance(stages.value, list):
        return holder
    return Node({**holder.value, 'stages': Node([change(stage) for stage in stages.value], stages.place)}, holder.place)


def _with_absolute_artefact_paths(stage: Node) -> Node:
    for spec in artefacts.kinds():
        for key in spec.paths:
            stage = _change(stage, (spec.name, key), _absolute)
    return stage


_URL = re.compile(r'[A-Za-z][A-Za-z0-9+.-]+://')


def _with_absolute_paths(root: Node) -> Node:
    for part in ('train', 'validation'):
        for key in ('path', 'images', 'class_file'):
            root = _change(root, ('data', part, key), _absolute)
    # Plugins are not imported yet and may have kinds of sources of their own: what is not known to be something else is a path.
    no_paths = set(schema.Source.model_fields) - set(schema.source_kinds())
    for name in _keys(root, 'sources'):
        for key in set(_keys(root.value['sources'], name)) - no_paths:
            root = _change(root, ('sources', name, key), _absolute)
    return _change(root, ('plugins',), _with_local_plugins)


def _absolute(node: Node) -> Node:
    if not isinstance(node.value, str) or not node.value:
        return node
    if _URL.match(node.value):
        raise ConfigError(f"{node.place}: found the URL '{node.value}'; expected a path. Nothing is downloaded: fetch it first")
    return Node(document.absolute(_from_home(node.value), node.place.folder), node.place)


def _from_home(path: str) -> str:
    """Returns a path whose `~` or `~/` at its beginning is the user's home, as in a shell; of other users' nothing is known."""
    return os.path.expanduser(path) if path == '~' or path.startswith('~/') else path


def _with_local_plugins(node: Node) -> Node:
    """A plugin that lies beside the file is named by its path, so that a child process finds it too."""
    if not isinstance(node.value, list):
        return node
    return Node([_local_plugin(item) for item in node.value], node.place)


def _local_plugin(node: Node) -> Node:
    if not isinstance(node.value, str):
        return node
    path = node.place.folder / node.value.removesuffix('.py')
    if path.with_name(path.name + '.py').is_file() or (path / '__init__.py').is_file():
        return Node(os.path.abspath(path), node.place)
    return node


def _change(node: Node, path: tuple[str, ...], change: Callable[[Node], Node]) -> Node:
    if not path:
        return change(node)
    if not isinstance(node.value, dict) or path[0] not in node.value:
        return node
    return Node({**node.value, path[0]: _change(node.value[path[0]], path[1:], change)}, node.place)


def _keys(node: Node, name: str) -> list[str]:
    inner = node.value.get(name)
    return list(inner.value) if inner is not None and isinstance(inner.value, dict) else []
