"""`stagetrain import-tfod`: a folder with a pipeline file that is correct, and a report."""

from __future__ import annotations

import gzip
import pathlib

import pytest
import yaml

from stagetrain.cli.main import main
from tests.bridges.tfod import files


@pytest.fixture
def config(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / 'pipeline.config'
    path.write_text(files.FASTER)
    return path


def test_a_file_becomes_a_pipeline_file_and_a_report(
    config: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'imported'
    assert main(['import-tfod', str(config), '--out', str(out)]) == 0
    shown = capsys.readouterr().out
    assert f'{out}/pipeline.yaml: written. Next:\n  stagetrain check {out}/pipeline.yaml --set ' in shown
    assert 'fields: ' in shown
    assert main(['check', str(out / 'pipeline.yaml')]) == 0
    report = (out / 'report.md').read_text()
    line = 1 + files.FASTER.split('\n').index('    first_stage_max_proposals: 200')
    assert f'| {line} | `model.faster_rcnn.first_stage_max_proposals` | 200 | model.roi_generator.num_proposals' in report
    assert 'images are not turned by 90 degrees' in report


def test_options_reach_the_import(config: pathlib.Path, tmp_path: pathlib.Path) -> None:
    options = ['--recipe', 'four_step', '--backbone', 'resnet101', '--freeze_rule', 'train', '--allow_unmatched']
    assert main(['import-tfod', str(config), '--out', str(tmp_path / 'imported'), *options]) == 0
    text = (tmp_path / 'imported/pipeline.yaml').read_text()
    assert 'name: detector_2' in text
    assert 'keras_resnet101' in text
    assert 'clipnorm: 10.0' in text
    assert 'global_clipnorm' not in text


def test_a_file_that_cannot_be_imported_leaves_nothing(
    config: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(files.FASTER.replace('faster_rcnn_resnet50', 'faster_rcnn_nas'))
    assert main(['import-tfod', str(config), '--out', str(tmp_path / 'imported')]) == 2
    assert "'faster_rcnn_nas' is a feature extractor that is not here. --backbone=keras_resnet101" in capsys.readouterr().err
    assert not (tmp_path / 'imported').exists()


def test_a_pipeline_file_that_was_changed_is_not_replaced(
    config: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'imported'
    assert main(['import-tfod', str(config), '--out', str(out)]) == 0
    assert main(['import-tfod', str(config), '--out', str(out)]) == 0
    (out / 'pipeline.yaml').write_text('mine')
    assert main(['import-tfod', str(config), '--out', str(out)]) == 2
    assert 'has changed since it was written' in capsys.readouterr().err
    assert (out / 'pipeline.yaml').read_text() == 'mine'


def test_compressed_records_are_written_plain_beside_the_pipeline_file(
    config: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        with gzip.open(tmp_path / f'train.record-0000{number}-of-00002', 'wb') as file:
            file.write(b'records %d' % number)
    assert main(['import-tfod', str(config), '--out', str(tmp_path / 'out')]) == 0
    assert 'written without compression into records/train' in capsys.readouterr().out
    assert yaml.safe_load((tmp_path / 'out/pipeline.yaml').read_text())['data']['train']['path'] == 'records/train/*'
    assert (tmp_path / 'out/records/train/train.record-00001-of-00002').read_bytes() == b'records 1'


def test_damaged_compressed_records_are_refused(
    config: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'train.record-00000-of-00002').write_bytes(gzip.compress(b'records' * 99)[:20])
    assert main(['import-tfod', str(config), '--out', str(tmp_path / 'out')]) == 2
    assert 'train.record-00000-of-00002: damaged: ' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('former', 'new', 'expected'),
    [
        ('batch_size: 2', 'batch_size: 0', ': train_config.batch_size: 0: becomes train.batch_size: found 0 (integer); expected'),
        (
            'first_stage_localization_loss_weight: 2.0',
            'first_stage_localization_loss_weight: -2.0',
            'first_stage_localization_loss_weight: found -2; expected a finite number, 0 or more',
        ),
        ('first_stage_nms_iou_threshold: 0.65', 'first_stage_nms_iou_threshold: 2', 'nms_iou_threshold: found 2.0 (number)'),
        ('first_stage_localization_loss_weight: 2.0', 'first_stage_localization_loss_weight: nan', 'nan'),
        ('height_stride: 16', 'height: 0', 'grid_anchor_generator.height: found 0; expected a number above 0'),
        (
            'scales: [0.25, 0.5, 1.0]',
            'scales: [0.0]',
            'becomes model.anchor.sizes[0]: found 0.0 (number); expected greater than 0',
        ),
    ],
)
def test_values_that_cannot_be_are_refused_where_the_file_has_them(
    config: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], former: str, new: str, expected: str
) -> None:
    config.write_text(files.FASTER.replace(former, new, 1))
    assert main(['import-tfod', str(config), '--out', str(tmp_path / 'out')]) == 2
    shown = capsys.readouterr().err
    assert expected in shown
    assert shown.startswith(f'stagetrain import-tfod: {config}:')
    assert not (tmp_path / 'out').exists()
