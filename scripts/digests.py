"""Digests of all that small pipelines of every kind of network leave behind, to prove that a change moves no bit.

    python scripts/digests.py /tmp/before.json              # at the commit before the change
    python scripts/digests.py /tmp/after.json               # behind it
    python scripts/digests.py --compare /tmp/before.json /tmp/after.json

Every pipeline trains in a process of its own, through the command line, with one thread. The report names tensors,
so it does not depend on how TensorFlow lays out its files: SHA-256 of each tensor of each checkpoint (slots of the
optimizer too), of each part of the stores of proposals and features,
of evaluations and detections as sorted JSON; and fingerprints.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # Run from a clone, nothing need be installed.
NUM_STEPS = 4
SMALL = (
    'data.classes=[circle, square, triangle]',
    'model.input_size=[64, 64, 3]',
    'runtime.intra_op_threads=1',
    'runtime.inter_op_threads=1',
)
FEW_ROIS = ('model.roi_sampler.num_sampled_rois=16', 'model.roi_generator.num_proposals=50', 'model.detection_head.fc_dims=8')
SHIPPED: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    'four_step': ('bccd/four_step.yaml', ('rpn_1', 'detector_1', 'rpn_2', 'detector_2'), FEW_ROIS),
    'cascade': ('bccd/cascade.yaml', ('heads', 'all'), FEW_ROIS),
    'mask': (
        'demo/mask_rcnn.yaml',
        ('boxes', 'masks'),
        (
            *FEW_ROIS,
            'model.mask_roi_aligner.crop_size=7',
            'model.parser={aug_rand_hflip: true, mask_crop_size: 28, aug_scale_min: 0.8, aug_scale_max: 1.25}',
        ),
    ),
    'retinanet': (
        'bccd/retinanet.yaml',
        ('heads', 'all'),
        (
            'model.decoder.fpn.num_filters=8',
            'model.anchor.num_scales=1',
            'model.head={num_convs: 1, num_filters: 8}',
            'model.detection_generator={pre_nms_score_threshold: 0.0, max_num_detections: 20}',
        ),
    ),
    'centernet': (
        'bccd/centernet.yaml',
        ('heads', 'all'),
        ('model.decoder.num_filters=[8, 8, 8]', 'model.parser.max_num_instances=8'),
    ),
    'experiment': (
        'bccd/classify_then_detect.yaml',
        ('classify', 'detector'),
        (
            *FEW_ROIS,
            'models.classifier.overrides.task.model.input_size=[32, 32, 3]',
            'stages.classify.train.learning_rate={type: constant, constant: {learning_rate: 0.0001}}',
        ),
    ),
}
"""Pipeline -> shipped config, its stages, and what makes it small."""
SINGLE_SCALE: Mapping[str, Any] = {
    'name': 'single_scale',
    'model': {
        'type': 'faster_rcnn_single_scale',
        'input_size': [64, 64, 3],
        'backbone': {'type': 'keras_vgg16', 'keras_vgg16': {'width': 0.0625}},
        'anchor': {'sizes': [12.0, 20.0, 28.0]},
        'rpn_head': {'num_filters': 8},
        'roi_head': {'type': 'fc', 'fc': {'fc_dims': 8}},
        'roi_sampler': {'num_sampled_rois': 16},
        'roi_generator': {'test_num_proposals': 30},
        'parser': {'aug_rand_hflip': True, 'shorter_side': 48},
    },
    'data': {
        'classes': ['circle', 'square', 'triangle'],
        'train': {'format': 'voc', 'path': '${BCCD}', 'split': 'trainval'},
        'validation': {'format': 'voc', 'path': '${BCCD}', 'split': 'test'},
    },
    'train': {
        'steps': NUM_STEPS,
        'optimizer': {'type': 'sgd', 'sgd': {'momentum': 0.9}},
        'learning_rate': {'type': 'constant', 'constant': {'learning_rate': 0.001}},
    },
    'stages': [
        {'name': 'rpn', 'loss_weights': {'rpn_score': 1.0, 'rpn_box': 1.0}},
        {
            'name': 'detector',
            'init': {'backbone': 'rpn', 'rpn_head': 'rpn'},
            'proposals': {'from': 'rpn', 'max_per_image': 50},
            'freeze_variables': ['backbone/block[12]_.*', 'rpn_head/.*'],
            'features': {'store': 'disk'},
            'loss_weights': {'frcnn_class': 1.0, 'frcnn_box': 1.0},
        },
    ],
}
"""A pipeline file: the shipped recipes of this network start from half a gigabyte of weights."""


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument('report', type=pathlib.Path, nargs='+', help='where it is written; with --compare: two that are there')
    parser.add_argument('--compare', action='store_true')
    parser.add_argument('--pipelines', nargs='+', default=[*SHIPPED, 'single_scale'], metavar='NAME')
    parser.add_argument('--onednn', choices=('0', '1'), default='1', help='TF_ENABLE_ONEDNN_OPTS')
    parser.add_argument('--work_dir', type=pathlib.Path, help='where the runs are kept; a temporary folder by default')
    options = parser.parse_args()
    if options.compare:
        return compare(*options.report)
    os.environ |= {'TF_ENABLE_ONEDNN_OPTS': options.onednn, 'TF_USE_LEGACY_KERAS': '1', 'TF_CPP_MIN_LOG_LEVEL': '2'}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.work_dir or pathlib.Path(temporary)
        environ = {**os.environ, **_places(folder), 'PYTHONPATH': str(ROOT)}
        found = {name: dict(_trained(name, folder, environ)) for name in options.pipelines}
    report = {'settings': {'TF_ENABLE_ONEDNN_OPTS': options.onednn, 'threads': 1}, 'pipelines': found}
    options.report[0].write_text(json.dumps(report, indent=1, sort_keys=True) + '\n')
    print(f'{options.report[0]}: {sum(map(len, found.values()))} digests of {len(found)} pipelines')
    return 0


def compare(before: pathlib.Path, after: pathlib.Path) -> int:
    """Prints what differs between two reports, in pipelines that both have; returns 1 when more than fingerprints does."""
    first, second = (json.loads(path.read_text()) for path in (before, after))
    if first['settings'] != second['settings']:
        print(f'{before} and {after} were made with other settings: {first["settings"]} and {second["settings"]}')
        return 1
    moved = 0
    for name in sorted(first['pipelines'].keys() & second['pipelines'].keys()):
        former, present = first['pipelines'][name], second['pipelines'][name]
        different = sorted(key for key in former.keys() | present.keys() if former.get(key) != present.get(key))
        bits = [key for key in different if not key.startswith('fingerprint ')]
        print(
            f'{name}: {len(former)} digests, {len(bits)} differ, {len(different) - len(bits)} fingerprints differ {different[:4]}'
        )
        moved += len(bits)
    return int(moved > 0)


def _trained(name: str, folder: pathlib.Path, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Trains a pipeline and yields what its run directory holds: place -> digest."""
    run_dir = folder / name
    command = [
        sys.executable,
        '-m',
        'stagetrain.cli.main',
        'run',
        *_config(name, folder),
        '--run_dir',
        str(run_dir),
        '--in_process',
    ]
    subprocess.run(command, env=environ, cwd=ROOT, check=True)
    yield from _tables(run_dir)
    yield from _checkpoints(run_dir)
    for path in sorted(run_dir.glob('stores/*/*/*.npy')):
        table = '/'.join((path.parent.parent.name, path.name))
        yield f'{table} #{_store_number(path, run_dir)}', hashlib.sha256(path.read_bytes()).hexdigest()


def _config(name: str, folder: pathlib.Path) -> list[str]:
    """Returns the arguments of the command line that name a small pipeline."""
    if name == 'single_scale':
        path = folder / 'single_scale.yaml'
        path.write_text(json.dumps(SINGLE_SCALE))  # JSON is YAML.
        overrides, stages = [*SMALL[2:]], ('rpn', 'detector')
    else:
        file, stages, more = SHIPPED[name]
        path, overrides = ROOT / 'configs' / file, [*SMALL, *more]
    for stage in stages:
        for key, value in (('steps', NUM_STEPS), ('batch_size', 2), ('checkpoint_interval', 2), ('summary_interval', 1)):
            overrides.append(f'stages.{stage}.train.{key}={value}')
    return [str(path), *(word for override in overrides for word in ('--set', override))]


def _tables(run_dir: pathlib.Path) -> Iterator[tuple[str, str]]:
    lock = json.loads((run_dir / 'pipeline.lock').read_text())
    for stage, entry in lock['stages'].items():
        yield f'fingerprint {stage}', entry['fingerprint']
        for file in ('evaluation.json', 'detections.json', 'lineage.json', 'frozen.json'):
            path = run_dir / 'stages' / stage / file
            if path.is_file():
                yield f'{stage}/{file}', _digest(_without_paths(json.loads(path.read_text()), run_dir.parent))
        lines = [json.loads(line) for line in (run_dir / 'stages' / stage / 'metrics.jsonl').read_text().splitlines()]
        yield (
            f'{stage}/metrics.jsonl',
            _digest([{key: value for key, value in line.items() if key != 'seconds'} for line in lines]),
        )


def _without_paths(value: Any, folder: pathlib.Path) -> Any:
    """Returns a JSON value without the folder that the runs lie in; of detections the images are numbered as they come."""
    if isinstance(value, list):
        numbers = {image: number for number, image in enumerate(dict.fromkeys(found['image_id'] for found in value))}
        return [{**found, 'image_id': numbers[found['image_id']]} for found in value]
    return json.loads(json.dumps(value).replace(str(folder), ''))


def _checkpoints(run_dir: pathlib.Path) -> Iterator[tuple[str, str]]:
    import tensorflow as tf

    for index in sorted(run_dir.glob('stages/*/**/ckpt.index')):
        reader = tf.train.load_checkpoint(str(index.with_suffix('')))
        for key in sorted(reader.get_variable_to_shape_map()):
            if key != '_CHECKPOINTABLE_OBJECT_GRAPH':
                value = reader.get_tensor(key)
                content = value.tobytes() if hasattr(value, 'tobytes') else repr(value).encode()
                yield f'{index.parent.relative_to(run_dir)} {key}', hashlib.sha256(content).hexdigest()


def _store_number(path: pathlib.Path, run_dir: pathlib.Path) -> int:
    """Returns which store of its kind this is, in the order in which they were made: names of folders are fingerprints."""
    stores = sorted((run_dir / 'stores' / path.parent.parent.name).glob('*/'), key=lambda store: store.stat().st_mtime)
    return stores.index(path.parent)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _places(folder: pathlib.Path) -> dict[str, str]:
    """Makes what the shipped configs name in the environment: small images, and a MobileNet of random weights from Keras."""
    folder.mkdir(parents=True, exist_ok=True)
    commands: Sequence[Sequence[str]] = (
        (str(folder / 'data'), '--num_train=6', '--num_validation=4', '--image_size=64', '--seed=3'),
        (str(folder / 'demo'), '--num_train=6', '--num_validation=4', '--image_size=64', '--seed=1', '--masks'),
    )
    for words in commands:
        subprocess.run([sys.executable, str(ROOT / 'scripts' / 'make_synthetic.py'), *words], check=True)
    weights = folder / 'mobilenet_2_5_224_tf_no_top.h5'
    if not weights.exists():
        import tf_keras

        tf_keras.utils.set_random_seed(1)
        network = tf_keras.applications.MobileNet(input_shape=(64, 64, 3), alpha=0.25, include_top=False, weights=None)
        network.save_weights(weights)
    return {'BCCD': str(folder / 'data'), 'WEIGHTS': str(folder), 'DEMO_DATA': str(folder / 'demo')}


if __name__ == '__main__':
    sys.exit(main())
