"""A finished stage's network, written in a form that other programs read: `stagetrain export`. TensorFlow-free until it computes.

    asked = make(pathlib.Path('runs/bccd'), 'saved_model', pathlib.Path('served'))      # everything is checked here
    carry_out(asked)

`out` holds what the exporter writes, `export.json` (the card) and `label_map.pbtxt`.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import stagetrain
from stagetrain import files, outputs
from stagetrain.config import document, exporters, specs, validation, versions
from stagetrain.config.document import Node, Place
from stagetrain.config.exporters import ExporterSpec
from stagetrain.config.options import Strict
from stagetrain.data.label_map import render_label_map
from stagetrain.errors import ConfigError
from stagetrain.inference import choice

CARD = 'export.json'
LABEL_MAP = 'label_map.pbtxt'


@dataclasses.dataclass(frozen=True)
class ExportRequest:
    """What to export, how, and where to."""

    spec: ExporterSpec
    options: Strict
    """Of the type that `spec` names."""
    chosen: choice.Chosen
    place: pathlib.Path
    """The folder to write, with links followed."""


def make(
    run_dir: pathlib.Path, name: str, out: pathlib.Path, stage: str | None = None, options: Mapping[str, Any] | Sequence[str] = ()
) -> ExportRequest:
    """Checks everything that is asked for; nothing is written.

    Args:
      run_dir: a run directory with a finished stage.
      name: a registered exporter.
      out: folder that is made; one that an export left, and nobody changed since, is replaced.
      stage: the stage's id; None: the pipeline's last.
      options: the exporter's, as a mapping or as texts KEY=VALUE.

    Raises:
      BadInput: there is no such exporter or finished stage, an option is wrong, or `out` cannot be written.
    """
    choice.pipeline_of(run_dir)  # Imports plugins, which may have registered the exporter.
    spec = exporters.exporter(name)
    given = options_of(spec, options)
    chosen = choice.choose(run_dir, stage, detects=spec.detects)
    return ExportRequest(spec, given, chosen, outputs.whole_folder('--out', out, CARD))


def options_of(spec: ExporterSpec, given: Mapping[str, Any] | Sequence[str]) -> Strict:
    """Returns the options of an exporter.

    Raises:
      ConfigError: a text is not KEY=VALUE, or an option is unknown or of another type.
    """
    here = pathlib.Path.cwd()
    if isinstance(given, Mapping):
        nodes = document.from_plain(dict(given), Place('options', None, here)).value
    else:
        nodes = dict(_option(text, here) for text in given)
    return validation.validate(Node(nodes, Place(f'--format {spec.name}', None, here)), spec.options)


def carry_out(request: ExportRequest) -> pathlib.Path:
    """Exports; imports TensorFlow. Returns the folder.

    Raises:
      BadInput: the network cannot be exported in this form, or the folder cannot be written.
    """
    export = specs.load_implementation(request.spec.implementation)
    from stagetrain.inference.exported import ExportedNetwork

    def write(folder: pathlib.Path) -> None:
        facts = export(ExportedNetwork(request.chosen), request.options, folder)
        files.write_json(folder / CARD, {**card(request), **facts})
        (folder / LABEL_MAP).write_text(render_label_map(dict(enumerate(request.chosen.pipeline.data.classes, 1))), 'utf-8')

    outputs.write_folder('--out', request.place, write)
    return request.place


def card(request: ExportRequest) -> dict[str, Any]:
    """Returns what the card says of every export: where the network comes from, and what it finds."""
    chosen, finished = request.chosen, request.chosen.finished
    return {
        'format': request.spec.name,
        'options': request.options.model_dump(),
        'pipeline': chosen.pipeline.name,
        'stage': chosen.stage_id,
        'step': finished.result['step'],
        'fingerprint': finished.fingerprint,
        'digests': finished.result['digests'],
        'detector': chosen.model.type,
        'classes': list(chosen.pipeline.data.classes),
        'metrics': finished.result.get('metrics') or {},
        'versions': {'stagetrain': stagetrain.__version__, **versions.package_versions()},
    }


def _option(text: str, here: pathlib.Path) -> tuple[str, Node]:
    key, equals, value = text.partition('=')
    if not equals or not key.strip():
        raise ConfigError(f'--set {text}: expected KEY=VALUE, an option of the format')
    place = f'--set {text}'
    return key.strip(), document.parse(value, file=place, folder=here, lines=False)
