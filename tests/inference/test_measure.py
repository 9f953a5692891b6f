"""`stagetrain eval --data`: any data set, measured as the validation set is."""

from __future__ import annotations

import json
import pathlib

import pytest

from stagetrain.cli import main
from stagetrain.data import synthetic
from tests import tiny
from tests.conftest import FinishedRun


@pytest.mark.slow
def test_the_validation_set_in_another_format_gives_the_stages_own_metrics(
    tiny_run: FinishedRun, tiny_data: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    converted = ['data', 'convert', str(tiny_data), '--split', 'test', '--to', 'coco', '--out', str(tmp_path / 'coco')]
    assert main.main(converted) == 0
    arguments = ('--data', tmp_path / 'coco', '--json', tmp_path / 'metrics.json')
    code, output = tiny.run_command('eval', tiny_run.run_dir, *arguments)
    assert code == 0, output
    assert 'read as coco' in output
    found = json.loads((tmp_path / 'metrics.json').read_text())
    own = json.loads((tiny_run.run_dir / 'stages' / 'detector_2' / 'evaluation.json').read_text())
    assert {name: own[name] for name in own if name.startswith('AP')} == {
        name: found[name] for name in found if name.startswith('AP')
    }
    assert 0 <= found['VOC_AP11'] <= 1


def test_options_of_a_data_set_need_one(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(['eval', str(tmp_path), '--split', 'test', '--masks']) == 2
    assert capsys.readouterr().err == 'stagetrain eval: --split, --masks: these go with --data PATH\n'


def test_masks_are_asked_of_a_format_and_a_detector_that_have_them(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synthetic.make(tmp_path, 1, 1, 64)
    synthetic.make_masks(tmp_path)
    document = tiny.pipeline(tmp_path, [tiny.stage('joint', tiny.RPN | tiny.HEAD)])
    (tmp_path / 'run').mkdir()
    tiny.write_config(tmp_path / 'run' / 'run.yaml', document)
    for data, format_, message in (
        (tmp_path, 'voc', f'{tmp_path} is read as voc, which has no masks'),
        (tmp_path / 'instances_test.json', 'coco', f'the detector of {tmp_path}/run, faster_rcnn, predicts no masks'),
    ):
        arguments = ['eval', str(tmp_path / 'run'), '--data', str(data), '--format', format_, '--masks']
        assert main.main(arguments) == 2
        assert capsys.readouterr().err == f'stagetrain eval: --masks: {message}; leave it out\n'


def test_a_folder_that_is_no_run_is_refused(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(['eval', str(tmp_path), '--data', str(tmp_path)]) == 2
    assert 'stagetrain eval: ' in capsys.readouterr().err
