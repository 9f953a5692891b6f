"""`stagetrain export` before TensorFlow: what is asked for, by a run whose stages were trained by fakes."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from stagetrain.config import exporters
from stagetrain.config.options import NoOptions
from stagetrain.errors import BadInput, ConfigError
from stagetrain.inference import export
from tests.fakes.project import ROOT, Project, make_project

pytestmark = pytest.mark.usefixtures('plugins_forgotten')
PLUGIN = ROOT / 'tests/outside/npz_export'


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished run whose pipeline names the exporter. Not to be changed."""
    project = make_project(tmp_path_factory.mktemp('finished'))
    project.config.write_text(f'{project.config.read_text()}plugins: [{PLUGIN}]\n')
    project.run()
    return project


@pytest.mark.parametrize(
    ('format', 'stage', 'options', 'message'),
    [
        ('npy', None, (), r"--format: no format 'npy'\. Known here: npz.*Did you mean 'npz'\?"),
        ('npz', 'rpn_9', (), r"--stage: no stage 'rpn_9'"),
        ('npz', None, ('compressed',), r'--set compressed: expected KEY=VALUE'),
        ('npz', None, ('compresed=true',), r"--set compresed=true: compresed: unknown key.*Did you mean 'compressed'\?"),
        ('npz', None, ('compressed=3',), r'--set compressed=3: compressed: found 3 \(integer\); expected true or false'),
        ('npz', None, {'compressed': 3}, r'options: compressed: found 3 \(integer\); expected true or false'),
    ],
)
def test_what_cannot_be_exported_is_refused(
    finished: Project, tmp_path: pathlib.Path, format: str, stage: str | None, options: object, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        export.make(finished.directory.path, format, tmp_path / 'out', stage, options)  # type: ignore[arg-type]
    assert not (tmp_path / 'out').exists()


def test_any_finished_stage_will_do_for_an_exporter_that_says_so(finished: Project, tmp_path: pathlib.Path) -> None:
    asked = export.make(finished.directory.path, 'npz', tmp_path / 'out', 'rpn_1', ['compressed=true'])
    assert (asked.chosen.stage_id, asked.options.model_dump(), asked.place) == ('rpn_1', {'compressed': True}, tmp_path / 'out')


def test_a_module_that_is_missing_is_named_with_what_installs_it() -> None:
    spec = exporters.ExporterSpec('rare', NoOptions, 'nowhere:export', {'no_such_module': 'pip install rare'})
    exporters.register_exporter(spec)
    with pytest.raises(
        BadInput, match=r'--format rare: the module no_such_module is not installed; install it with: pip install'
    ):
        exporters.exporter('rare')


def test_the_card_says_where_the_network_comes_from(finished: Project, tmp_path: pathlib.Path) -> None:
    said = export.card(export.make(finished.directory.path, 'npz', tmp_path / 'out'))
    entry = finished.directory.lock().stages['detector_2']
    assert said['digests'] == entry.result['digests'] and said['fingerprint'] == entry.fingerprint
    wanted = {
        'format': 'npz',
        'pipeline': 'four',
        'stage': 'detector_2',
        'step': 8,
        'classes': ['thing'],
        'metrics': {'AP': 0.25, 'AP50': 0.5},
    }
    assert {key: said[key] for key in wanted} == wanted
    assert set(said['versions']) == {'stagetrain', 'tensorflow', 'tf-models-official', 'tf_keras', 'onednn'}


def test_nothing_of_this_imports_tensorflow(finished: Project, tmp_path: pathlib.Path) -> None:
    script = (
        'import sys, pathlib\nfrom stagetrain.inference import export\n'
        f'export.make(pathlib.Path({str(finished.directory.path)!r}), "npz", pathlib.Path({str(tmp_path / "out")!r}))\n'
        "assert not {'tensorflow', 'tf_keras', 'official'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
