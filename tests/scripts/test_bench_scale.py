"""The benchmark of growth: the set that it makes, its parts and its table; nothing here is timed."""

from __future__ import annotations

import json
import pathlib
import sys

import pytest

from stagetrain.config import schema
from stagetrain.data import synthetic
from stagetrain.data.index import load_dataset

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / 'scripts'))
import bench_scale

ROWS = {
    'index_cold': {
        '300': {'us_per_image': 10.0, 'processor_us_per_image': 5.0, 'peak_mb': 60.0},
        '3000': {'us_per_image': 12.0, 'processor_us_per_image': 6.0, 'peak_mb': 70.0},
    }
}


def test_the_set_has_an_annotation_for_each_image_and_few_files(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_scale, 'NUM_FILES', 2)
    bench_scale.make_images(tmp_path / 'images', 5)
    source = schema.DataSource(format='voc', path=str(tmp_path / 'images'), split='trainval')
    data = schema.Data(classes=list(synthetic.CLASSES), train=source, validation=source)
    dataset = load_dataset(source, data, 'train', None)
    assert [example.image_id for example in dataset.examples] == ['000000', '000001', '000002', '000003', '000004']
    assert dataset.bad == () and dataset.num_boxes >= 5
    assert (tmp_path / 'images' / 'JPEGImages' / '000004.jpg').samefile(tmp_path / 'images' / '0.jpg')


@pytest.mark.parametrize('store', ['proposals', 'features'])
def test_a_store_is_made_and_read_whole(tmp_path, store):
    made = bench_scale.measure_here(f'{store}_make', tmp_path, 5)
    read = bench_scale.measure_here(f'{store}_read', tmp_path, 5)
    assert made.keys() == read.keys() == {'seconds', 'processor_seconds', 'peak_bytes', 'mapped_bytes'}
    assert sum(path.stat().st_size for path in (tmp_path / store).glob('rows-*.npy')) > 5 * 4 * 300 * 4


def test_every_part_has_a_name_in_the_table():
    assert list(bench_scale.LABELS) == list(bench_scale.PARTS)


def test_growth_compares_the_largest_set_with_the_smallest():
    assert bench_scale.growth(ROWS['index_cold']) == pytest.approx(1.2)


def test_the_table_can_be_pasted():
    lines = bench_scale.markdown({'rows': ROWS}).splitlines()
    assert lines[0] == '| part | 300 images | 3,000 images | processor time of an image, largest / smallest |'
    assert lines[2] == '| annotations, first time | 10 us (5), 60 MB | 12 us (6), 70 MB | 1.20 |'


@pytest.mark.slow
def test_all_parts_run_and_are_written(tmp_path):
    assert bench_scale.main(['--sizes', '4', '--json', str(tmp_path / 'scale.json')]) == 0
    rows = json.loads((tmp_path / 'scale.json').read_text())['rows']
    assert list(rows) == sorted(bench_scale.PARTS)
    assert all(row['4']['seconds'] > 0 and row['4']['peak_mb'] > 10 for row in rows.values())
