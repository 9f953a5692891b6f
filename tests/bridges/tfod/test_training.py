"""An imported file of ResNet-50 trains on TFRecords of real images, in one stage and in four steps.

The network is whole, from conv1 to C5; images, proposals and RoIs are few and small, so that it takes minutes on a CPU.
"""

from __future__ import annotations

import json
import pathlib

import pytest

from stagetrain.cli.main import main
from tests.bridges.tfod import files

SMALL = {
    'min_dimension: 320 max_dimension: 512': 'min_dimension: 64 max_dimension: 96',
    'scales: [0.25, 0.5, 1.0]': 'scales: [0.0625, 0.125, 0.25]',
    'first_stage_max_proposals: 200': 'first_stage_max_proposals: 8',
    'first_stage_box_predictor_depth: 128': 'first_stage_box_predictor_depth: 32',
    'second_stage_batch_size: 32': 'second_stage_batch_size: 4',
    'initial_crop_size: 14': 'initial_crop_size: 4',
    'num_steps: 1000': 'num_steps: 20',
    'fine_tune_checkpoint: "model.ckpt"': '',
}


@pytest.fixture(scope='module')
def records(bccd: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """BCCD as TFRecords of the Object Detection API, with a label map."""
    folder = tmp_path_factory.mktemp('bccd')
    for split in ('trainval', 'test'):
        options = ['--split', split, '--to', 'tfrecord', '--out', str(folder / split), '--on_bad', 'skip', '--shards', '2']
        assert main(['data', 'convert', str(bccd), *options]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ('options', 'stages'),
    [([], ['joint']), (['--recipe', 'four_step'], ['rpn_1', 'detector_1', 'rpn_2', 'detector_2'])],
    ids=['joint', 'four_step'],
)
def test_an_imported_resnet_50_trains_for_20_steps(
    records: pathlib.Path, tmp_path: pathlib.Path, options: list[str], stages: list[str]
) -> None:
    text = files.FASTER
    for former, new in SMALL.items():
        assert former in text
        text = text.replace(former, new)
    text = text.replace('"label_map.pbtxt"', f'"{records}/trainval/label_map.pbtxt"')
    text = text.replace('train.record-?????-of-00002', f'{records}/trainval/trainval-?????-of-00002.tfrecord')
    text = text.replace('"val.record"', f'"{records}/test/test-?????-of-00002.tfrecord"')
    (tmp_path / 'pipeline.config').write_text(text)
    out, run = tmp_path / 'imported', tmp_path / 'run'
    assert main(['import-tfod', str(tmp_path / 'pipeline.config'), '--out', str(out), *options]) == 0
    assert main(['run', str(out / 'pipeline.yaml'), '--run_dir', str(run)]) == 0
    for stage in stages:
        lines = [json.loads(line) for line in (run / 'stages' / stage / 'metrics.jsonl').read_text().splitlines()]
        assert lines[-1]['step'] == 20
        assert 'backbone/conv4_block6_3_conv/kernel' in json.loads((run / 'stages' / stage / 'lineage.json').read_text())
    classes = json.loads((run / 'stages' / stages[-1] / 'checkpoints/step-00000020/classes.json').read_text())
    assert 'Platelets' in str(classes)
