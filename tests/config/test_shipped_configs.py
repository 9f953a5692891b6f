"""The recipes in `configs/`: each loads, is sound, and is guarded against every slip of a key or a value."""

from __future__ import annotations

import pathlib
import re
import shutil
from collections.abc import Iterator

import pytest

from stagetrain.cli import prepare
from stagetrain.config.check import check_pipeline
from stagetrain.config.load import Loaded, dump_resolved, load_pipeline, load_resolved
from stagetrain.config.stages import stage_modules
from stagetrain.errors import ConfigError
from stagetrain.pipeline.planned import Selection
from tests.fakes.project import make_project

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
ENVIRON = {
    'BCCD': '/data/bccd',
    'WEIGHTS': '/data/weights',
    'DEMO_DATA': '/data/demo',
    'VOC07': '/data/voc',
    'RESNET50': '/data/resnet/ckpt',
    'FORMER_RUN': '/data/runs/former',
}
BASE = 'models/faster_rcnn_mobilenet_v1.yaml'
RECIPES = sorted(str(path.relative_to(CONFIGS)) for path in CONFIGS.glob('*/*.yaml') if path.parent.name != 'models')
# Names that the user is free to choose; another one is no slip (a source's is noticed where it is used).
FREE_NAMES = {'imagenet', 'former', 'end_to_end', 'unshared'}


def load(name: str, root: pathlib.Path = CONFIGS) -> Loaded:
    loaded = load_pipeline(root / name, environ=ENVIRON)
    check_pipeline(loaded)
    return loaded


def test_the_recipes_are_all_here() -> None:
    assert RECIPES == [
        'bccd/cascade.yaml',
        'bccd/centernet.yaml',
        'bccd/classify_then_detect.yaml',
        'bccd/continue_from_run.yaml',
        'bccd/end_to_end.yaml',
        'bccd/four_step.yaml',
        'bccd/four_step_carry.yaml',
        'bccd/recipe_four_step.yaml',
        'bccd/recipe_gradual_unfreeze.yaml',
        'bccd/retinanet.yaml',
        'bccd/surgery.yaml',
        'bccd/transfer.yaml',
        'bccd/transfer_resnet50.yaml',
        'demo/four_step.yaml',
        'demo/mask_rcnn.yaml',
        'voc07/centernet_resnet50.yaml',
        'voc07/four_step_resnet50_c4.yaml',
        'voc07/four_step_resnet50_fpn.yaml',
        'voc07/four_step_vgg16.yaml',
    ]


@pytest.mark.parametrize('name', RECIPES)
def test_a_recipe_is_sound_and_loads_back_equal(name: str, tmp_path: pathlib.Path) -> None:
    loaded = load(name)
    (tmp_path / 'run.yaml').write_text(dump_resolved(loaded))
    assert load_resolved(tmp_path / 'run.yaml').pipeline == loaded.pipeline


@pytest.mark.parametrize('name', RECIPES)
def test_a_recipe_opens_with_what_it_is_its_time_and_its_command(name: str) -> None:
    lines = (CONFIGS / name).read_text().splitlines()
    head = '\n'.join(line for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith('#'))])
    assert lines[0] == '# yaml-language-server: $schema=../schema.json'
    assert re.search('^# Time: ', head, re.MULTILINE)
    assert re.search(f'^# Command: .*(stagetrain (run|compare) configs/{name}|scripts/demo.sh)', head, re.MULTILINE)


def test_the_four_steps_are_those_of_the_paper() -> None:
    pipeline = load('bccd/four_step.yaml').pipeline
    assert [stage_modules(pipeline, stage) for stage in pipeline.stages] == [
        ('backbone', 'decoder', 'rpn_head'),
        ('backbone', 'decoder', 'detection_head'),
        ('backbone', 'decoder', 'rpn_head'),
        ('backbone', 'decoder', 'rpn_head', 'detection_head'),
    ]
    assert [{module: init.origin for module, init in stage.init.items()} for stage in pipeline.stages] == [
        {'backbone': 'imagenet'},
        {'backbone': 'imagenet'},
        {'backbone': 'detector_1', 'decoder': 'detector_1'},
        {'backbone': 'rpn_2', 'decoder': 'rpn_2', 'rpn_head': 'rpn_2', 'detection_head': 'detector_1'},
    ]
    assert [stage.proposals and stage.proposals.origin for stage in pipeline.stages] == [None, 'rpn_1', None, 'rpn_2']


@pytest.mark.parametrize('name', [f'voc07/four_step_{network}.yaml' for network in ('resnet50_c4', 'resnet50_fpn', 'vgg16')])
def test_voc07_has_the_papers_steps_and_rates(name: str) -> None:
    stages = load(name).pipeline.stages
    assert [stage.train.steps for stage in stages] == [80000, 40000, 80000, 40000]
    assert [stage.train.batch_size for stage in stages] == [1, 2, 1, 2]
    schedules = [stage.train.learning_rate.stepwise for stage in stages]
    assert [(schedule.boundaries, schedule.values) for schedule in schedules] == [
        ([60000], [1e-3, 1e-4]),
        ([30000], [1e-3, 1e-4]),
        ([60000], [1e-3, 1e-4]),
        ([30000], [1e-3, 1e-4]),
    ]


def test_vgg16_has_the_papers_anchors_heads_and_images() -> None:
    model = load('voc07/four_step_vgg16.yaml').pipeline.model
    assert (model.anchor.sizes, model.anchor.aspect_ratios, model.anchor.allowed_border) == ([128, 256, 512], [0.5, 1, 2], 0)
    assert (model.rpn_head.num_filters, model.roi_head.fc.fc_dims, model.roi_head.fc.dropout) == (512, 4096, 0.5)
    assert model.roi_aligner.crop_size // model.roi_aligner.pool_size == 7
    assert (model.parser.shorter_side, model.parser.rpn_batch_size_per_im, model.parser.rpn_fg_fraction) == (600, 256, 0.5)
    assert (model.roi_generator.test_num_proposals, model.detection_generator.nms_iou_threshold) == (300, 0.3)


def keys(name: str) -> Iterator[tuple[int, int, str]]:
    """Yields line (from 1), column and name of every key of a shipped file."""
    for number, line in enumerate((CONFIGS / name).read_text().splitlines(), 1):
        code = re.sub(r'(^| +)#.*', '', line)
        for match in re.finditer(r'(?:(?<=^)|(?<=[ {]))([a-z_0-9]+)(?=:( |$))', code):
            yield number, match.start(), match[1]


def value_end(text: str, start: int) -> int:
    """Returns where a flow value that starts at `start` ends: a bracketed one at its bracket, another at a comma or bracket."""
    text = re.sub(r'\$\{\w+\}', lambda match: '_' * len(match[0]), text)
    depth = 0
    for position in range(start, len(text)):
        if text[position] in '[{':
            depth += 1
        elif text[position] in ']}' and depth:
            depth -= 1
            if not depth:
                return position + 1
        elif not depth and text[position] in ',]}':
            return position
    return len(text)


def mistyped(lines: list[str], number: int, column: int, key: str) -> list[str]:
    """Returns the file with one value replaced by one of another kind: a mapping by a number, everything else by a mapping."""
    line = re.sub(r' +#.*', '', lines[number - 1])
    start = column + len(key) + 1
    end = value_end(line, start + 1)
    value = line[start:end].strip()
    below = number
    while not value and below < len(lines) and len(lines[below]) - len(lines[below].lstrip(' -')) > column:
        below += 1
    wrong = ' 3' if not value or value[0] == '{' else ' {wrong: 1}'
    return [*lines[: number - 1], line[:start] + wrong + line[end:], *lines[below:]]


def copy_of_configs(tmp_path: pathlib.Path, name: str, lines: list[str]) -> pathlib.Path:
    root = tmp_path / 'configs'
    shutil.copytree(CONFIGS, root, ignore=shutil.ignore_patterns('*.json'))
    (root / name).write_text('\n'.join(lines) + '\n')
    return root


MUTANTS = [
    pytest.param(name, number, column, key, id=f'{name}:{number}:{column}:{key}')
    for name in (BASE, 'bccd/four_step.yaml')
    for number, column, key in keys(name)
]


def test_keys_of_every_kind_are_tried() -> None:
    tried = {param.values[0] + ':' + str(param.values[3]) for param in MUTANTS}
    assert {f'{BASE}:momentum', f'{BASE}:train', 'bccd/four_step.yaml:from', 'bccd/four_step.yaml:keras_h5'} <= tried
    assert len(MUTANTS) > 100


@pytest.mark.parametrize(('name', 'number', 'column', 'key'), [param for param in MUTANTS if param.values[3] not in FREE_NAMES])
def test_a_misspelt_key_is_refused_with_its_line(tmp_path: pathlib.Path, name: str, number: int, column: int, key: str) -> None:
    lines = (CONFIGS / name).read_text().splitlines()
    lines[number - 1] = f'{lines[number - 1][:column]}{key}x{lines[number - 1][column + len(key) :]}'
    root = copy_of_configs(tmp_path, name, lines)
    with pytest.raises(ConfigError, match=rf'{name}:{number}: .*{key}x'):
        load('bccd/four_step.yaml' if name == BASE else name, root)


@pytest.mark.parametrize(('name', 'number', 'column', 'key'), MUTANTS)
def test_a_value_of_another_type_is_refused_with_its_line(
    tmp_path: pathlib.Path, name: str, number: int, column: int, key: str
) -> None:
    lines = mistyped((CONFIGS / name).read_text().splitlines(), number, column, key)
    root = copy_of_configs(tmp_path, name, lines)
    with pytest.raises(ConfigError, match=rf'{name}:{number}(: .*{key}|\))'):
        load('bccd/four_step.yaml' if name == BASE else name, root)


def test_a_copied_recipe_needs_a_base_classes_data_and_sources_of_its_own(tmp_path: pathlib.Path) -> None:
    project = make_project(tmp_path)
    mine = tmp_path / 'mine.yaml'
    shutil.copy(CONFIGS / 'bccd/four_step.yaml', mine)
    text = mine.read_text().replace('../models/', f'{CONFIGS}/models/').replace('[RBC, WBC, Platelets]', '[thing]')
    mine.write_text(text.replace('${BCCD}', 'data').replace('${WEIGHTS}/mobilenet_2_5_224_tf_no_top.h5', 'weights.h5'))
    plan = prepare.planned(prepare.checked(mine), project.directory, Selection())
    assert [stage.id for stage in plan.stages if stage.selected] == ['rpn_1', 'detector_1', 'rpn_2', 'detector_2']
