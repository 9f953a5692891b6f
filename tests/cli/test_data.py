"""`stagetrain data`: messages, files and exit codes."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image

from stagetrain.cli import main
from stagetrain.config import schema
from stagetrain.data.index import load_dataset
from tests.fakes.project import ROOT

BOX = '<object><name>{}</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>{}</xmax><ymax>4</ymax></bndbox></object>'


@pytest.fixture
def voc(tmp_path: pathlib.Path) -> pathlib.Path:
    """Images a and b for training and c for testing, with a fault in b."""
    root = tmp_path / 'voc'
    for folder in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True)
    for seed, (image_id, xmax) in enumerate({'a': 3, 'b': 1, 'c': 5}.items()):
        pixels = np.random.default_rng(seed).integers(0, 255, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(root / 'JPEGImages' / f'{image_id}.jpg')
        size = '<size><width>60</width><height>40</height></size>'
        objects = BOX.format('cat', 3) + BOX.format('dog', xmax)
        text = f'<annotation><filename>{image_id}.jpg</filename>{size}{objects}</annotation>'
        (root / 'Annotations' / f'{image_id}.xml').write_text(text)
    (root / 'ImageSets' / 'Main' / 'train.txt').write_text('a\nb\n')
    (root / 'ImageSets' / 'Main' / 'test.txt').write_text('c\n')
    return root


def test_a_clean_set_is_described(voc: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(['data', 'check', str(voc), '--split', 'test']) == 0
    shown = ' '.join(capsys.readouterr().out.split())
    assert 'read as voc:' in shown
    assert 'images 1; 0 without objects' in shown
    assert 'classes cat: 1 in 1 images, dog: 1 in 1 images' in shown
    assert shown.endswith('0 faults, 0 pictures in two sets')


def test_faults_end_with_2_and_name_file_and_object(
    voc: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ['data', 'check', str(voc), '--split', 'train', '--split', 'test', '--json', str(tmp_path / 'report.json')]
    assert main.main(arguments) == 2
    shown = capsys.readouterr().out
    assert f'{voc / "Annotations" / "b.xml"}: object[2]/bndbox: the box has no area' in shown
    assert '1 faults, 0 pictures in two sets' in shown
    found = json.loads((tmp_path / 'report.json').read_text())
    assert [(one['name'], len(one['faults'])) for one in found['sets']] == [(f'{voc} train', 1), (f'{voc} test', 0)]


def test_a_picture_in_both_sets_ends_with_2(voc: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (voc / 'JPEGImages' / 'c.jpg').write_bytes((voc / 'JPEGImages' / 'a.jpg').read_bytes())
    (voc / 'ImageSets' / 'Main' / 'train.txt').write_text('a\n')
    assert main.main(['data', 'check', str(voc), '--split', 'train', '--split', 'test']) == 2
    shown = capsys.readouterr().out
    assert '1 pictures stand in two sets' in shown
    assert 'a.jpg' in shown.split('stand in two sets')[1]


def test_the_sets_of_a_pipeline_file_are_checked(voc: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ROOT / 'configs' / 'bccd' / 'four_step.yaml'
    text = config.read_text().replace('${BCCD}', str(voc)).replace('${WEIGHTS}', '/w')
    text = text.replace('../models', str(config.parent.parent / 'models')).replace('[RBC, WBC, Platelets]', '[cat, dog]')
    (voc.parent / 'p.yaml').write_text(text.replace('split: trainval', 'split: train'))
    assert main.main(['data', 'check', str(voc.parent / 'p.yaml')]) == 2
    shown = capsys.readouterr().out
    assert shown.startswith('train\n')
    assert '\nvalidation\n' in shown


def test_only_some_faults_are_shown_unless_asked(voc: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects = ''.join(BOX.format('dog', 1) for _ in range(25))
    file = voc / 'Annotations' / 'a.xml'
    file.write_text(file.read_text().replace('</annotation>', f'{objects}</annotation>'))
    main.main(['data', 'check', str(voc), '--split', 'train'])
    assert 'and 23 more\n' in capsys.readouterr().out
    main.main(['data', 'check', str(voc), '--split', 'train', '--all'])
    assert capsys.readouterr().out.count('the box has no area') == 26


def test_conversion_stops_at_faults_and_says_how_to_go_on(
    voc: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ['data', 'convert', str(voc), '--to', 'coco', '--out', str(tmp_path / 'out')]
    assert main.main(command) == 2
    printed = capsys.readouterr()
    assert 'b.xml: object[2]/bndbox: the box has no area' in printed.out
    assert printed.err.endswith('1 faults; correct them, or leave them out with --on_bad skip\n')
    assert not (tmp_path / 'out').exists()
    assert main.main([*command, '--on_bad', 'skip']) == 0
    assert '3 images, 5 objects, 1 faults left out; written and read back equal' in capsys.readouterr().out
    assert main.main([*command, '--on_bad', 'skip']) == 0
    assert 'is there already, of the same data' in capsys.readouterr().out


def test_the_lines_for_the_pipeline_file_read_what_was_written(
    voc: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ['data', 'convert', str(voc), '--split', 'test', '--to', 'tfrecord', '--out', str(tmp_path / 'out')]
    assert main.main(arguments) == 0
    shown = capsys.readouterr().out
    lines = yaml.safe_load(shown[shown.index('data:\n') :])['data']
    data = schema.Data.model_validate(lines | {'validation': lines['train']})
    assert len(load_dataset(data.train, data, 'train', None).examples) == 1
    assert data.classes == ['cat', 'dog']


def test_classes_can_be_chosen(voc: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ['--split', 'test', '--ignore_classes', 'cat']
    assert main.main(['data', 'check', str(voc), *chosen]) == 0
    assert 'classes       dog: 1 in 1 images' in capsys.readouterr().out
    assert main.main(['data', 'check', str(voc), '--split', 'test', '--classes', 'cat']) == 2
    assert "class 'dog' is not in data.classes (cat)" in capsys.readouterr().out


def test_two_splits_are_not_converted_at_once(voc: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ['--split', 'train', '--split', 'test', '--to', 'csv', '--out', 'out']
    assert main.main(['data', 'convert', str(voc), *arguments]) == 2
    assert '--split: expected one; convert each split into a folder of its own' in capsys.readouterr().err


def test_what_is_no_data_set_is_refused(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(['data', 'check', str(tmp_path)]) == 2
    shown = capsys.readouterr().out
    assert f'  {tmp_path}: format auto knows coco, csv, ' in shown
    assert shown.endswith('1 faults, 0 pictures in two sets\n')


def test_flagged_objects_can_be_dropped(voc: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = voc / 'Annotations' / 'c.xml'
    file.write_text(file.read_text().replace('<name>cat</name>', '<name>cat</name><difficult>1</difficult>'))
    command = ['data', 'convert', str(voc), '--split', 'test', '--to', 'csv', '--out', str(tmp_path / 'out')]
    assert main.main(command) == 2
    assert main.main([*command, '--drop_ignored']) == 0
    assert '1 difficult or crowd objects are left out' in capsys.readouterr().out
    assert (tmp_path / 'out' / 'annotations.csv').read_text() == 'c.jpg,1,2,5,4,dog\n'


def test_tensorflow_is_left_alone(voc: pathlib.Path) -> None:
    script = f"""
import sys
from stagetrain.cli.main import main
assert main(['data', 'check', {str(voc)!r}, '--split', 'test']) == 0
assert not {{'tensorflow', 'tf_keras', 'official'}} & set(sys.modules)
"""
    environ = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr
