"""Class lists travel with weights: a module that has numbers of its own for each class must start from those of the same classes.

of_source(source)                     # ('RBC', 'WBC'): of another run, or of a checkpoint that a stage left
taking(spec, 'detection_head', ('RBC', 'WBC'), ['WBC', 'RBC'])      # what a child needs to take each class by its name
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from stagetrain import files
from stagetrain.config import schema, specs
from stagetrain.config.stages import spec_of, stage_modules
from stagetrain.errors import StagetrainError
from stagetrain.pipeline import run_files


def of_source(source: schema.Source) -> tuple[str, ...] | None:
    """Returns the class list of a source's weights; None where nothing tells, as for files from elsewhere."""
    found: Any = None
    try:
        if source.run is not None:
            found = yaml.safe_load((pathlib.Path(source.path) / run_files.CONFIG).read_text(encoding='utf-8'))['data']['classes']
        elif source.kind == 'checkpoint':
            path = pathlib.Path(source.path)
            found = files.read_json((path if path.is_dir() else path.parent) / run_files.CLASSES)
    except (OSError, StagetrainError, yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError):
        return None
    return tuple(map(str, found)) if isinstance(found, list) else None


def of_sources(pipeline: schema.PipelineBase) -> dict[str, tuple[str, ...]]:
    """Returns source -> class list, of those that have one."""
    found = {name: of_source(source) for name, source in pipeline.sources.items()}
    return {name: classes for name, classes in found.items() if classes is not None}


def faults(
    pipeline: schema.PipelineBase, stage_id: str, stage: schema.Stage, lists: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    """Yields the modules of a stage that start from weights of other classes, or of the same in another order.

    Args:
      pipeline: gives the present classes.
      stage_id: of the stage.
      stage: the stage.
      lists: source -> its class list, of those that have one.
    """
    spec = spec_of(pipeline, stage)
    for module, init in stage.init.items():
        if init.origin in pipeline.sources and module in spec.class_modules and module in stage_modules(pipeline, stage):
            text = _fault(spec, module, init, lists.get(init.origin), tuple(pipeline.data.classes))
            if text is not None:
                yield f'stages.{stage_id}.init.{module}: from {init.origin}: {text}'


def _fault(
    spec: specs.DetectorSpec, module: str, init: schema.Init, found: tuple[str, ...] | None, wanted: tuple[str, ...]
) -> str | None:
    shown = f'its classes are [{", ".join(found or ())}], those of data.classes [{", ".join(wanted)}]'
    if init.classes == 'by_name':
        missing = [name for name in wanted if name not in (found or ())]
        if not found:
            return 'classes: by_name: the source has no list of its classes; a run directory has one, and a checkpoint in it'
        if not any(pattern.startswith(f'{module}/') for pattern in spec.class_layers):
            return f'classes: by_name: {spec.name} does not tell which numbers of {module} belong to which class'
        return f'classes: by_name: {shown}; it lacks {", ".join(missing)}' if missing else None
    if found is None or found == wanted or init.classes == 'by_position' or len(found) != len(wanted):
        return None  # Another number of classes shows by its shapes.
    return (
        f'{shown}: each would start from the numbers of another. Put data.classes into that order; or write '
        f'`{module}: {{from: {init.origin}, classes: by_name}}`, which takes each class by its name, or `classes: by_position`, '
        'which takes them as they stand'
    )


def taking(spec: specs.DetectorSpec, module: str, found: Sequence[str], wanted: Sequence[str]) -> dict[str, Any]:
    """Returns how a child takes each class of a module by its name: see `stagetrain.weights.class_order`.

    Returns:
      `{"take": places in the source's layers, "num_classes": its classes, "layers": pattern -> numbers of a class}`; where there
      is a background it is the first class of both.
    """
    background = int(spec.has_background)
    take = [*range(background), *(list(found).index(name) + background for name in wanted)]
    layers = {pattern: count for pattern, count in spec.class_layers.items() if pattern.startswith(f'{module}/')}
    return {'take': take, 'num_classes': len(found) + background, 'layers': layers}
