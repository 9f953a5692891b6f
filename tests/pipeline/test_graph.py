"""Who starts from whom."""

from __future__ import annotations

import pytest

from stagetrain.errors import ConfigError
from stagetrain.pipeline.graph import Origin, build_graph, num_steps
from tests.fakes.project import Project


def test_parents_and_ancestors(project: Project) -> None:
    graph = build_graph(project.load().pipeline)
    assert {node.id: list(node.parents) for node in graph.nodes.values()} == {
        'rpn_1': [],
        'detector_1': ['rpn_1'],
        'rpn_2': ['detector_1'],
        'detector_2': ['rpn_2', 'detector_1'],
        'joint.all': [],
    }
    assert graph.ancestors('detector_2') == ('rpn_1', 'detector_1', 'rpn_2')


def test_every_module_has_one_origin(project: Project) -> None:
    node = build_graph(project.load().pipeline).nodes['detector_1']
    assert node.modules == ('backbone', 'decoder', 'detection_head')
    assert node.origins == {
        'backbone': Origin('keras_h5', 'imagenet'),
        'decoder': Origin('fresh', 'fresh'),
        'detection_head': Origin('fresh', 'fresh'),
    }
    assert node.reads == {'proposals': 'rpn_1'}


def test_a_name_in_a_variant_means_its_own_stage_first(project: Project) -> None:
    stage = '{name: %s, init: {backbone: %s}, loss_weights: {rpn_score: 1.0, rpn_box: 1.0}}'
    stages = ', '.join(stage % names for names in (('rpn_1', 'imagenet'), ('mine', 'rpn_1'), ('theirs', 'rpn_2')))
    text = project.config.read_text().replace('  unshared: {until: detector_1}', f'  own: {{stages: [{stages}]}}')
    project.config.write_text(text)
    nodes = build_graph(project.load().pipeline).nodes
    assert nodes['own.mine'].parents == ('own.rpn_1',)
    assert nodes['own.theirs'].parents == ('rpn_2',)


def test_epochs_beyond_what_can_be_counted_are_refused(project: Project) -> None:
    train = project.load('stages.rpn_1.train={epochs: 1e8, batch_size: 2}').pipeline.stages[0].train
    assert num_steps(train, num_images=1) == 50_000_000
    with pytest.raises(ConfigError, match=r'train\.epochs: 100000000\.0 are 150000000 steps; expected epochs of at most'):
        num_steps(train, num_images=3)
