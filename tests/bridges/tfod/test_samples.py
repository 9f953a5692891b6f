"""The files that the Object Detection API ships are imported, or refused by name for what nobody has here."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import time

import pytest
import yaml

from stagetrain.api.pipeline import Pipeline
from stagetrain.bridges.tfod import fields, importing, reading
from stagetrain.bridges.tfod.importing import Choices, import_file
from stagetrain.config import load
from stagetrain.config.check import check_pipeline
from stagetrain.errors import ConfigError
from tests.fakes.project import ROOT

REFUSED = {
    'center_net_deepmac_1024x1024_coco_tpu-128': 'DeepMAC is not here',
    'centernet_hourglass104_1024x1024_kpts_coco17_tpu-32': 'keypoints are not here',
    'centernet_hourglass104_512x512_kpts_coco17_tpu-32': 'keypoints are not here',
    'centernet_resnet50_v1_fpn_512x512_kpts_coco17_tpu-8': 'keypoints are not here',
    'centernet_resnet50_v2_512x512_kpts_coco17_tpu-8': 'keypoints are not here',
}
"""Sample -> why it is refused."""
SUBSTITUTED = ('hourglass', 'inception', 'nas', 'rfcn', 'context')
"""Parts of the names of samples that need `--backbone`."""


def imported(path: pathlib.Path, **choices: str) -> importing.Imported:
    needs = any(part in path.name for part in SUBSTITUTED)
    return import_file(path, Choices(backbone='keras_resnet101' if needs else None, **choices))


def accepted(samples: list[pathlib.Path]) -> list[pathlib.Path]:
    return [path for path in samples if path.stem not in REFUSED]


def test_every_sample_is_imported_or_refused_by_name(tfod_samples: list[pathlib.Path], tmp_path: pathlib.Path) -> None:
    assert len(tfod_samples) == 58
    for path in tfod_samples:
        if path.stem in REFUSED:
            with pytest.raises(ConfigError, match=REFUSED[path.stem]):
                imported(path)
            continue
        for recipe in (None, 'four_step'):
            if recipe and not path.name.startswith(('faster_rcnn', 'mask_rcnn', 'rfcn', 'context')):
                continue
            result = imported(path, **({'recipe': recipe} if recipe else {}))
            (tmp_path / 'pipeline.yaml').write_text(result.pipeline)
            check_pipeline(load.load_pipeline(tmp_path / 'pipeline.yaml'))


def test_other_extractors_are_named_without_a_substitute(tfod_samples: list[pathlib.Path]) -> None:
    for path in accepted(tfod_samples):
        if any(part in path.name for part in SUBSTITUTED):
            with pytest.raises(ConfigError, match=r"'[a-z0-9_]+' .*not here.* --backbone=keras_resnet101 imports"):
                import_file(path)


def test_every_leaf_of_every_sample_has_a_line_and_a_reason(tfod_samples: list[pathlib.Path]) -> None:
    total = 0
    for path in accepted(tfod_samples):
        result = imported(path)
        total += len(result.entries)
        assert all(entry.text and entry.line for entry in result.entries), path
        assert all(f'`{entry.path}`' in result.report for entry in result.entries), path
    assert total > 3000


def test_what_a_translator_takes_is_mapped_in_the_table_too(tfod_samples: list[pathlib.Path]) -> None:
    """The page of all fields tells no less than the imports do."""
    for path in accepted(tfod_samples):
        kinds = {name: fields.verdict(name).kind for name in _names(reading.read(path).message)}
        mapped = {entry.path for entry in imported(path).entries if entry.kind.value == 'mapped'}
        by_path = dict(_paths(reading.read(path).message))
        assert {by_path[place] for place in mapped if kinds[by_path[place]] != 'mapped'} == set(), path


def _paths(message: object) -> list[tuple[str, str]]:
    from stagetrain.bridges.tfod.account import leaves

    return [(path, name) for path, _, name in leaves(message)]


def _names(message: object) -> set[str]:
    return {name for _, name in _paths(message)}


def test_label_maps_of_the_api_are_read(tfod: pathlib.Path, tfod_samples: list[pathlib.Path], tmp_path: pathlib.Path) -> None:
    sample = next(path for path in tfod_samples if path.stem == 'faster_rcnn_resnet50_pets')
    for path in sorted((tfod / 'labelmaps').glob('*.pbtxt')):
        text = (
            sample.read_text()
            .replace('PATH_TO_BE_CONFIGURED/pet_label_map.pbtxt', str(path))
            .replace('num_classes: 37', 'num_classes: 9999')
        )
        (tmp_path / 'pipeline.config').write_text(text)
        result = import_file(tmp_path / 'pipeline.config')
        assert 'class_1' not in yaml.safe_load(result.pipeline)['data']['classes'], path


@pytest.mark.slow
def test_the_plan_of_every_sample_takes_less_than_two_seconds(
    tfod_samples: list[pathlib.Path], tiny_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """With a small data set in place of the records, and no checkpoint; the import included."""
    data = {'format': 'voc', 'path': str(tiny_data)}
    slowest = 0.0
    for path in accepted(tfod_samples):
        start = time.monotonic()
        keys = load.load_pipeline(_written(tmp_path, imported(path).pipeline)).resolved
        keys = {key: value for key, value in keys.items() if key != 'sources'}
        keys['data'] = {
            'classes': ['square', 'circle', 'triangle'],
            'train': {**data, 'split': 'trainval'},
            'validation': {**data, 'split': 'test'},
        }
        keys['stages'] = [_fresh(stage) for stage in keys['stages']]
        if keys['model']['type'] == 'mask_rcnn':
            keys['stages'] = [{**stage, 'loss_weights': {**stage['loss_weights'], 'mask': 0}} for stage in keys['stages']]
        Pipeline(keys).plan(tmp_path / 'run')
        slowest = max(slowest, time.monotonic() - start)
    assert slowest < 2.0


def _written(folder: pathlib.Path, text: str) -> pathlib.Path:
    (folder / 'pipeline.yaml').write_text(text)
    return folder / 'pipeline.yaml'


def _fresh(stage: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in stage.items() if key not in ('init', 'freeze_variables', 'allow_frozen_fresh')}


def test_an_import_leaves_tensorflow_alone(tfod_samples: list[pathlib.Path], tmp_path: pathlib.Path) -> None:
    words = ['import-tfod', str(tfod_samples[-1]), '--out', str(tmp_path / 'out')]
    script = (
        f'import sys; from stagetrain.cli.main import main; assert main({words!r}) == 0; '
        f'assert not {{"tensorflow", "tf_keras", "keras", "official"}} & set(sys.modules)'
    )
    environ = {**os.environ, 'PYTHONPATH': str(ROOT)}
    subprocess.run([sys.executable, '-c', script], env=environ, check=True, capture_output=True)
