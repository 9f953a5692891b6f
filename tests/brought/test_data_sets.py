"""Data sets as they lie on people's disks: links, nested folders, other suffixes, hidden files, lists of every kind."""

from __future__ import annotations

import gzip
import json
import os
import pathlib
import shutil
import time
import zipfile

from tests.brought import case, sets
from tests.brought.case import Case, Hold, Step, each
from tests.fakes import project

CHECK = 'data check data'
TWO = r'images 2;'
CLEAN = '0 faults'
FORMATS = r'coco, csv, .*tfrecord, .*voc'
"""The known formats, which more may join."""


def _voc_of(*ids: str, **keys: str) -> object:
    return lambda folder: sets.voc(folder / 'data', ids, **keys)


def _linked_whole(folder: pathlib.Path) -> None:
    sets.voc(folder / 'disk' / 'VOC')
    (folder / 'data').symlink_to(folder / 'disk' / 'VOC')


def _linked_parts(folder: pathlib.Path) -> None:
    sets.voc(folder / 'disk' / 'VOC')
    (folder / 'data').mkdir()
    for name in ('JPEGImages', 'Annotations', 'ImageSets'):
        (folder / 'data' / name).symlink_to(folder / 'disk' / 'VOC' / name)


def _linked_files(folder: pathlib.Path) -> None:
    """As DVC leaves a checked out data set: every file is a link into a cache."""
    sets.voc(folder / 'data')
    for number, path in enumerate(sorted((folder / 'data').rglob('*.*'))):
        cached = folder / 'cache' / f'{number:02}'
        cached.parent.mkdir(exist_ok=True)
        path.rename(cached)
        path.symlink_to(cached)


def _linked_coco(folder: pathlib.Path) -> None:
    sets.coco(folder / 'disk' / 'a.json', {'1.jpg': [[5, 5, 20, 20]], '2.jpg': [[5, 5, 20, 20]]})
    (folder / 'data').mkdir()
    (folder / 'data' / 'a.json').symlink_to(folder / 'disk' / 'a.json')
    for name in ('1.jpg', '2.jpg'):
        (folder / 'data' / name).symlink_to(f'../disk/{name}')


def _linked_csv(folder: pathlib.Path) -> None:
    sets.csv(folder / 'disk' / 'boxes.csv', ['pictures/1.jpg,10,5,40,30,thing', 'pictures/2.jpg,10,5,40,30,thing'], images=[])
    for name in ('1.jpg', '2.jpg'):
        sets.image(folder / 'far' / name)
    (folder / 'disk' / 'pictures').symlink_to(folder / 'far')
    (folder / 'data').symlink_to('disk')


def _dead_link(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data')
    image = folder / 'data' / 'JPEGImages' / '1.jpg'
    image.unlink()
    image.symlink_to('/nowhere/1.jpg')


def _named_outside(folder: pathlib.Path) -> None:
    """An annotation's own text leads out of the data set; a link beside it is no excuse."""
    sets.voc(folder / 'data')
    sets.image(folder / 'secret.jpg')
    sets.write(folder / 'data' / 'Annotations' / '1.xml', sets.voc_xml('../../secret.jpg'))


def _coco_named_outside(folder: pathlib.Path) -> None:
    sets.coco(folder / 'data' / 'a.json', {'../secret.jpg': [[5, 5, 20, 20]], '1.jpg': [[5, 5, 20, 20]]})


def _nested_coco(folder: pathlib.Path) -> None:
    sets.coco(folder / 'a.json', {'cam1/1.jpg': [[5, 5, 20, 20]], 'cam2/1.jpg': [[5, 5, 20, 20]], '3.jpg': [[5, 5, 20, 20]]})


def _flags(folder: pathlib.Path) -> None:
    """The development kit's file of a class: 1, -1 or 0 for difficult, with two blanks where there is no sign."""
    sets.voc(folder / 'data', ['000012', '000017'])
    sets.write(folder / 'data' / 'ImageSets' / 'Main' / 'thing_train.txt', '000012 -1\n000017  1\n')


def _split_lines(text: str) -> object:
    def make(folder: pathlib.Path) -> None:
        sets.voc(folder / 'data')
        sets.write(folder / 'data' / 'ImageSets' / 'Main' / 'trainval.txt', text)

    return make


def _split_not_utf8(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data')
    sets.write(folder / 'data' / 'ImageSets' / 'Main' / 'trainval.txt', 'Käfer\n'.encode('latin-1'))


def _compressed_records(folder: pathlib.Path) -> None:
    sets.tfrecord(folder / 'a.tfrecord', sets.record('1'), sets.record('2'))
    sets.write(folder / 'a.tfrecord', gzip.compress((folder / 'a.tfrecord').read_bytes()))


def _compressed_records_by_suffix(folder: pathlib.Path) -> None:
    _compressed_records(folder)
    (folder / 'a.tfrecord').rename(folder / 'a.tfrecord.gz')


def _backslashes(folder: pathlib.Path) -> None:
    sets.image(folder / 'pictures' / '1.jpg')
    sets.image(folder / 'pictures' / '2.jpg')
    sets.csv(folder / 'boxes.csv', ['pictures\\1.jpg,10,5,40,30,thing', 'pictures\\2.jpg,10,5,40,30,thing'], images=[])


def _upper_suffix(folder: pathlib.Path) -> None:
    """The annotation says .jpg and the camera wrote .JPG."""
    sets.voc(folder / 'data')
    for name in ('1', '2'):
        (folder / 'data' / 'JPEGImages' / f'{name}.jpg').rename(folder / 'data' / 'JPEGImages' / f'{name}.JPG')


def _upper_suffix_coco(folder: pathlib.Path) -> None:
    sets.coco(folder / 'a.json', {'1.jpg': [[5, 5, 20, 20]], '2.jpg': [[5, 5, 20, 20]]})
    for name in ('1', '2'):
        (folder / f'{name}.jpg').rename(folder / f'{name}.JPG')


def _two_of_a_stem(folder: pathlib.Path) -> None:
    sets.coco(folder / 'a.json', {'1.jpg': [[5, 5, 20, 20]], '1.png': [[5, 5, 20, 20]]})


def _two_of_a_stem_voc(folder: pathlib.Path) -> None:
    """A second image with another suffix that no annotation names."""
    sets.voc(folder / 'data')
    sets.image(folder / 'data' / 'JPEGImages' / '1.png')


def _hidden(folder: pathlib.Path) -> None:
    """What macOS and Windows leave in folders."""
    sets.voc(folder / 'data')
    for name in ('Annotations/._1.xml', 'Annotations/.DS_Store', 'JPEGImages/._1.jpg', 'JPEGImages/Thumbs.db', '.DS_Store'):
        sets.write(folder / 'data' / name, b'\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X')
    sets.write(folder / 'data' / 'Annotations' / '.ipynb_checkpoints' / '1-checkpoint.xml', sets.voc_xml('1.jpg'))


def _hidden_coco(folder: pathlib.Path) -> None:
    for split in ('train', 'valid'):
        sets.coco(folder / 'data' / split / '_annotations.coco.json', {f'{split}.jpg': [[5, 5, 20, 20]]})
        sets.write(folder / 'data' / split / '._annotations.coco.json', b'\x00\x05\x16\x07')
    sets.write(folder / 'data' / '.DS_Store', b'\x00\x00\x00\x01Bud1')


def _roboflow(folder: pathlib.Path) -> None:
    for split in ('train', 'valid', 'test'):
        sets.coco(folder / 'data' / split / '_annotations.coco.json', {f'{split}.jpg': [[5, 5, 20, 20]]})


def _nested_voc(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data', ['cam1/1', 'cam2/1', '3'])
    shutil.rmtree(folder / 'data' / 'ImageSets')


def _no_split_files(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data')
    shutil.rmtree(folder / 'data' / 'ImageSets')


def _many_objects(folder: pathlib.Path) -> None:
    sets.coco(folder / 'a.json', {'1.jpg': [[x % 50, x // 50, 5, 5] for x in range(120)]})


def _thin(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data', ['1'], objects=sets.voc_object((10, 0, 400, 3)))
    sets.image(folder / 'data' / 'JPEGImages' / '1.jpg', 4000, 3)
    sets.write(folder / 'data' / 'Annotations' / '1.xml', sets.voc_xml('1.jpg', sets.voc_object((10, 0, 400, 3)), 4000, 3))


def _renamed_png(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data')
    sets.write(folder / 'data' / 'JPEGImages' / '1.jpg', sets.pixels('1', kind='PNG'))


def _unusable_kind(kind: str) -> object:
    def make(folder: pathlib.Path) -> None:
        sets.voc(folder / 'data')
        sets.write(folder / 'data' / 'JPEGImages' / '1.jpg', sets.pixels('1', kind=kind))

    return make


def _cut_image(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data')
    path = folder / 'data' / 'JPEGImages' / '1.jpg'
    path.write_bytes(path.read_bytes()[:-200])


def _empty_image(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data')
    (folder / 'data' / 'JPEGImages' / '1.jpg').write_bytes(b'')


def _page_in_place_of_an_image(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data')
    sets.write(folder / 'data' / 'JPEGImages' / '1.jpg', '<html>404 Not Found</html>')


def _pointer_in_place_of_images(folder: pathlib.Path) -> None:
    """A clone without git-lfs."""
    sets.voc(folder / 'data')
    pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n'
    for name in ('1', '2'):
        sets.write(folder / 'data' / 'JPEGImages' / f'{name}.jpg', pointer)


def _archive(folder: pathlib.Path) -> None:
    sets.voc(folder / 'VOC')
    with zipfile.ZipFile(folder / 'data.zip', 'w') as file:
        file.write(folder / 'VOC' / 'Annotations' / '1.xml')


def _names_in_another_language(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data', ['图片 1', 'été'], objects=sets.voc_object(name='红细胞'))


def _strange_names(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data', ['a [1]*?', 'b,c;d', "it's"], objects=sets.voc_object())


def _latin_1_names(folder: pathlib.Path) -> None:
    """Files that came out of an old archive; the annotation does not repeat their names."""
    name = os.fsdecode(b'K\xe4fer')
    sets.image(folder / 'data' / 'JPEGImages' / f'{name}.jpg')
    sets.write(folder / 'data' / 'Annotations' / f'{name}.xml', sets.voc_xml('').replace('<filename></filename>', ''))


def _yolo(folder: pathlib.Path) -> None:
    sets.image(folder / 'images' / '1.jpg')
    sets.write(folder / 'labels' / '1.txt', '0 0.5 0.5 0.2 0.2\n')
    sets.write(folder / 'data.yaml', 'names: [thing]\ntrain: images\n')


def _labelme(folder: pathlib.Path) -> None:
    sets.image(folder / '1.jpg')
    shape = {'label': 'thing', 'points': [[10, 5], [40, 30]], 'shape_type': 'rectangle'}
    sets.write(folder / 'a.json', json.dumps({'version': '5.0', 'shapes': [shape], 'imagePath': '1.jpg', 'imageHeight': 48}))


def _csv_of_the_tutorials(folder: pathlib.Path) -> None:
    """The columns that the tutorials of the Object Detection API write."""
    columns = 'filename,width,height,class,xmin,ymin,xmax,ymax'
    sets.csv(folder / 'boxes.csv', [columns, '1.jpg,64,48,thing,10,5,40,30', '2.jpg,64,48,thing,10,5,40,30'])


def _negatives(folder: pathlib.Path) -> None:
    sets.coco(folder / 'a.json', {'1.jpg': [[5, 5, 20, 20]], '2.jpg': [], '3.jpg': []})


def _text_ids(folder: pathlib.Path) -> None:
    sets.coco(folder / 'a.json', {'1.jpg': [[5, 5, 20, 20]]}, image_id='1')


def _byte_order_mark(folder: pathlib.Path) -> None:
    sets.csv(folder / 'boxes.csv', ['1.jpg,10,5,40,30,thing', '2.jpg,10,5,40,30,thing'])
    text = (folder / 'boxes.csv').read_bytes().replace(b'\n', b'\r\n')
    sets.write(folder / 'boxes.csv', b'\xef\xbb\xbf' + text)


def _empty_annotations(folder: pathlib.Path) -> None:
    sets.voc(folder / 'data')
    sets.write(folder / 'data' / 'Annotations' / '1.xml', '')


def _split_pipeline(folder: pathlib.Path, train: str, validation: str) -> None:
    """A pipeline of the fakes whose two sets are the COCO files `train.json` and `validation.json`."""
    made = project.make_project(folder)
    text = project.PIPELINE.replace('{format: voc, path: data, split: trainval}', f'{{format: coco, path: {train}}}')
    made.config.write_text(text.replace('{format: voc, path: data, split: test}', f'{{format: coco, path: {validation}}}'))


def _sets(train: dict[str, object], validation: dict[str, object]) -> object:
    def make(folder: pathlib.Path) -> None:
        _split_pipeline(folder, 'train/a.json', 'validation/a.json')
        sets.coco(folder / 'train' / 'a.json', {f'{n}.jpg': [[5, 5, 20, 20]] for n in (1, 2)}, **train)
        sets.coco(folder / 'validation' / 'a.json', {f'{n}.jpg': [[5, 5, 20, 20]] for n in (3, 4)}, **validation)

    return make


def _one_bad(folder: pathlib.Path) -> None:
    _sets({}, {})(folder)
    found = json.loads((folder / 'train' / 'a.json').read_text())
    found['annotations'][1]['bbox'] = [5, 5, 0, 20]
    sets.write(folder / 'train' / 'a.json', json.dumps(found))
    path = folder / 'four.yaml'
    path.write_text(path.read_text().replace('classes: [thing]', 'classes: [thing]\n  on_bad: skip'))


def _all_bad(folder: pathlib.Path) -> None:
    _one_bad(folder)
    path = folder / 'train' / 'a.json'
    path.write_text(path.read_text().replace('[5, 5, 20, 20]', '[30, 30, 62, 46]'))


NO_CACHE = {'STAGETRAIN_CACHE': 'four.yaml'}
"""A file in the way."""
OWN_CACHE = {'STAGETRAIN_CACHE': 'cache'}


def _in_both(folder: pathlib.Path) -> None:
    _sets({}, {})(folder)
    shutil.copy(folder / 'train' / '2.jpg', folder / 'validation' / '3.jpg')


def _rotten_cache(folder: pathlib.Path) -> None:
    _sets({}, {})(folder)
    then = time.time() - 60
    for path in (folder, *folder.rglob('*')):
        os.utime(path, (then, then))  # What has just been written is not trusted.
    sets.write(folder / 'cache' / 'dataset-x.npz', 'rubbish')


def _rot(folder: pathlib.Path) -> None:
    entries = sorted((folder / 'cache').glob('dataset-*-*.npz'))
    assert len(entries) == 2
    for path in entries:
        path.write_bytes(path.read_bytes()[:-9] + b'123456789')


READ = [
    Case('a folder that is a link', _linked_whole, Step(CHECK, says=[TWO, CLEAN])),
    Case('linked parts', _linked_parts, Step(CHECK, says=[TWO, CLEAN])),
    Case('linked files', _linked_files, Step(CHECK, says=[TWO, CLEAN])),
    Case('linked coco', _linked_coco, Step('data check data/a.json', says=[TWO, CLEAN])),
    Case('linked folder of images beside a csv', _linked_csv, Step('data check data/boxes.csv', says=[TWO, CLEAN])),
    Case('names in folders, coco', _nested_coco, Step('data check a.json', says=[r'images 3;', CLEAN])),
    Case('names in folders, voc without split', _nested_voc, Step(CHECK, says=[r'images 3;', CLEAN])),
    Case(
        'names in folders, converted to voc and read',
        _nested_coco,
        Step('data convert a.json --to voc --out voc', made=['voc/*/cam1/1.xml', 'voc/*/cam2/1.xml']),
        Step('data check voc', says=[r'images 3;', CLEAN]),
    ),
    Case(
        'roboflow',
        _roboflow,
        Step(CHECK, says=[r'data test', r'data train', r'data valid', CLEAN]),
        Step(f'{CHECK} --split train --split valid', says=[CLEAN], silent=['data test']),
    ),
    Case('voc without lists', _no_split_files, Step(CHECK, says=[TWO, CLEAN])),
    Case('a list with the flags of the development kit', _flags, Step(f'{CHECK} --split thing_train', says=[TWO, CLEAN])),
    Case('a list with suffixes', _split_lines('1.jpg\n2.jpg\n'), Step(f'{CHECK} --split trainval', says=[TWO, CLEAN])),
    Case('a list with windows line ends', _split_lines('1\r\n2\r\n\r\n'), Step(f'{CHECK} --split trainval', says=[TWO, CLEAN])),
    Case('a list with blanks', _split_lines(' 1 \n\n2\t\n'), Step(f'{CHECK} --split trainval', says=[TWO, CLEAN])),
    Case('a list with a byte order mark', _split_lines('\ufeff1\n2\n'), Step(f'{CHECK} --split trainval', says=[TWO, CLEAN])),
    Case('backslashes', _backslashes, Step('data check boxes.csv', says=[TWO, CLEAN])),
    Case('.JPG for .jpg, voc', _upper_suffix, Step(CHECK, says=[TWO, CLEAN])),
    Case('.JPG for .jpg, coco', _upper_suffix_coco, Step('data check a.json', says=[TWO, CLEAN])),
    Case('one stem, two suffixes, coco', _two_of_a_stem, Step('data check a.json', says=[TWO, CLEAN])),
    Case('one stem, two suffixes, voc', _two_of_a_stem_voc, Step(CHECK, says=[TWO, CLEAN])),
    Case('hidden files, voc', _hidden, Step(CHECK, says=[TWO, CLEAN])),
    Case('hidden files, coco', _hidden_coco, Step(f'{CHECK} --split train', says=[r'images 1;', CLEAN])),
    Case('png in place of jpeg', _renamed_png, Step(CHECK, says=[TWO, CLEAN])),
    Case('names in another language', _names_in_another_language, Step(CHECK, says=[TWO, CLEAN, '红细胞'])),
    Case('names that shells and patterns take apart', _strange_names, Step(CHECK, says=[r'images 3;', CLEAN])),
    Case(
        'names in latin-1',
        _latin_1_names,
        Step(f'{CHECK} --json r.json', says=['images 1;', CLEAN], made=['r.json']),
        Step('data convert data --to coco --out out', code=2, says=[r'K\\udce4fer', 'UTF-8', 'rename'], not_made=['out*']),
    ),
    Case('csv with a header', _csv_of_the_tutorials, Step('data check boxes.csv', says=[TWO, CLEAN])),
    Case('yolo', _yolo, Step('data check .', says=['images 1;', 'objects 1;', CLEAN])),
    Case(
        'labelme',
        _labelme,
        Step('data check a.json', says=['images 1;', 'objects 1;', CLEAN]),
        Step('data check a.json --format coco', code=2, says=[r'a\.json', 'images']),
    ),
    Case('text for image ids', _text_ids, Step('data check a.json', says=['images 1;', 'objects 1;', CLEAN])),
    Case('images without objects', _negatives, Step('data check a.json', says=[r'images 3; 2 without objects', CLEAN])),
    Case('csv of windows', _byte_order_mark, Step('data check boxes.csv', says=[TWO, CLEAN])),
    Case('an image of 4000 x 3', _thin, Step(CHECK, says=[r'images 1;', CLEAN])),
    Case(
        'more than a hundred objects',
        _many_objects,
        Step('data check a.json', says=[r'120', r'max_num_instances', r'max_num_detections|100 detections|detections']),
    ),
]

REFUSED = [
    Case('a split that is not there', _voc_of('1'), Step(f'{CHECK} --split val', code=2, says=[r'\bval\b', 'trainval'])),
    Case(
        'compressed records',
        _compressed_records,
        Step('data check a.tfrecord --class_file label_map.pbtxt', code=2, says=[r'a\.tfrecord', 'GZIP', 'gzip -dc']),
        Step('data check a.tfrecord', code=2, says=[r'a\.tfrecord', 'GZIP', 'gzip -dc']),
    ),
    Case(
        'compressed records by suffix',
        _compressed_records_by_suffix,
        Step('data check a.tfrecord.gz', code=2, says=[r'a\.tfrecord\.gz', 'gzip -dc']),
    ),
    Case(
        'a list that is named with its suffix',
        _voc_of('1', '2'),
        Step(f'{CHECK} --split trainval.txt', code=2, says=[r'trainval\.txt', "'trainval'|: trainval"]),
    ),
    Case('a dead link', _dead_link, Step(CHECK, code=2, says=[r'1\.jpg', r'1 faults'])),
    Case('a name that leads out, voc', _named_outside, Step(CHECK, code=2, says=[r'1\.xml', r'secret', r'inside|leads out'])),
    Case(
        'a name that leads out, coco',
        _coco_named_outside,
        Step('data check data/a.json', code=2, says=[r'a\.json', r'secret', r'inside|leads out']),
    ),
    Case(
        'a list that is not utf-8', _split_not_utf8, Step(f'{CHECK} --split trainval', code=2, says=[r'trainval\.txt', 'UTF-8'])
    ),
    Case('gif', _unusable_kind('GIF'), Step(CHECK, code=2, says=[r'1\.jpg', 'GIF', '1 faults'])),
    Case('webp', _unusable_kind('WEBP'), Step(CHECK, code=2, says=[r'1\.jpg', 'WebP|WEBP', '1 faults'])),
    Case('tiff', _unusable_kind('TIFF'), Step(CHECK, code=2, says=[r'1\.jpg', 'TIFF', '1 faults'])),
    Case('an image cut off', _cut_image, Step(CHECK, code=2, says=[r'1\.jpg', '1 faults'])),
    Case('an empty image', _empty_image, Step(CHECK, code=2, says=[r'1\.jpg', 'empty', '1 faults'])),
    Case('a page in place of an image', _page_in_place_of_an_image, Step(CHECK, code=2, says=[r'1\.jpg', '1 faults'])),
    Case(
        'pointers in place of images', _pointer_in_place_of_images, Step(CHECK, code=2, says=[r'1\.jpg', 'git.lfs', '2 faults'])
    ),
    Case('an annotation of nothing', _empty_annotations, Step(CHECK, code=2, says=[r'1\.xml', 'empty|no element', '1 faults'])),
    Case('an archive', _archive, Step('data check data.zip', code=2, says=[r'data\.zip', FORMATS])),
    Case(
        'an empty folder',
        lambda folder: (folder / 'data').mkdir(),
        Step(CHECK, code=2, says=[r'data\b', FORMATS]),
    ),
    Case('no such folder', lambda folder: None, Step(CHECK, code=2, says=['data', 'nothing is there'])),
    Case(
        'a class file for a format that has none',
        _voc_of('1'),
        Step(
            f'{CHECK} --class_file classes.txt',
            code=2,
            says=[r'class_file: found classes\.txt', 'voc does not', 'csv'],
        ),
        Step(f'{CHECK} --format voc --images data', code=2, says=['images: found data', 'format voc does not read it', 'coco']),
    ),
    Case(
        'a format that is not known',
        _voc_of('1'),
        Step(f'{CHECK} --format pascal', code=2, says=['pascal', FORMATS]),
    ),
]

PLANNED = [
    Case(
        'crowds alone to train on',
        _sets({'iscrowd': 1}, {}),
        Step('plan four.yaml', code=2, says=[r'data\.train', r'train/a\.json', r'\b2\b', 'crowd']),
    ),
    Case(
        'crowds alone to validate on',
        _sets({}, {'iscrowd': 1}),
        Step('plan four.yaml', says=[r'validation: no metric', 'crowd']),
        Step('run four.yaml --run_dir run', says=[r'validation: no metric', 'crowd'], changes=case.RUN_FILES),
        Step('run four.yaml --run_dir run', says=['up to date'], changes=case.RUN_FILES),
    ),
    Case(
        'boxes within a pixel to train on',
        _sets({'bbox': [0.1, 0.1, 0.5, 0.5]}, {}),
        Step('plan four.yaml', code=2, says=[r'data\.train', r'train/a\.json', r'pixel|0 (to|and) 1|fraction|normalised']),
    ),
    Case(
        'crowds alone, run',
        _sets({'iscrowd': 1}, {}),
        Step('run four.yaml --run_dir run', code=2, says=['crowd'], not_made=['run/stages/*'], changes=['run/*']),
    ),
    Case(
        'a bad object that is left out',
        _one_bad,
        Step('plan four.yaml', says=[r'1 bad item', r'a\.json', r'annotation']),
        Step('run four.yaml --run_dir run', says=[r'1 bad item']),
    ),
    Case(
        'an image in both sets',
        _in_both,
        Step('plan four.yaml', says=[r'data\.train and in data\.validation \(2 as 3\), byte', 'data check']),
        Step('run four.yaml --run_dir run', says=[r'\(2 as 3\), byte for byte'], changes=case.RUN_FILES),
        Step('data check four.yaml', code=2, says=[r'2\.jpg .*3\.jpg .*show the same picture']),
    ),
    Case(
        'no place for a cache',
        _sets({}, {}),
        Step('plan four.yaml', says=['four.yaml: cannot be written', 'STAGETRAIN_CACHE'], environ=NO_CACHE),
        Step('plan four.yaml', silent=['cannot be written'], environ={'STAGETRAIN_CACHE': ''}),
        Step('run four.yaml --run_dir run', silent=['cannot be written'], environ=NO_CACHE, changes=case.RUN_FILES),
        Step('data check four.yaml', says=['0 faults'], environ=NO_CACHE),
    ),
    Case(
        'a cache full of rubbish',
        _rotten_cache,
        Step('plan four.yaml', silent=['cache'], environ=OWN_CACHE, changes=['cache/*']),
        Step('plan four.yaml', says=['2 training images'], environ=OWN_CACHE, changes=['cache/*'], before=_rot),
        Step('data check four.yaml', says=['0 faults'], environ=OWN_CACHE, changes=['cache/*'], before=_rot),
    ),
    Case(
        'all bad and left out',
        _all_bad,
        Step('plan four.yaml', code=2, says=[r'data\.train', r'a\.json.*annotation', r'corners|x1, y1|reach']),
    ),
]


@each(READ)
def test_what_lies_on_disk_is_read_without_a_fault(case: Case, hold: Hold) -> None:
    hold(case)


@each(REFUSED)
def test_what_cannot_be_read_is_refused_by_name(case: Case, hold: Hold) -> None:
    hold(case)


@each(PLANNED)
def test_a_plan_says_what_is_wrong_with_the_data(case: Case, hold: Hold) -> None:
    hold(case)
