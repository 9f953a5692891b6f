"""More objects an image than there is room for, or than are detected: told before the first step; one option lifts it."""

from __future__ import annotations

import pytest

from stagetrain.config import load
from stagetrain.config.stages import detection_limit, measured_metrics, model_as_built
from stagetrain.errors import ConfigError
from stagetrain.pipeline.plan import Selection
from tests.config.test_shipped_configs import ENVIRON
from tests.fakes.project import ROOT, Project

OBJECT = '<object><name>thing</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>'


def crowd(project: Project, name: str, number: int) -> None:
    """Gives an image so many objects more."""
    path = project.folder / 'data' / 'Annotations' / f'{name}.xml'
    path.write_text(path.read_text().replace('</annotation>', OBJECT * number + '</annotation>'))


def test_a_training_image_of_too_many_objects_is_refused_before_the_first_step(project: Project) -> None:
    crowd(project, 'b', 149)
    message = (
        r'model\.parser\.max_num_instances: found 100, but 1 image holds more than 100 objects \(150 at most\) .*at least 150'
    )
    with pytest.raises(ConfigError, match=message):
        project.plan()
    assert project.plan('model.parser.max_num_instances=150').remarks() == []


def test_a_validation_image_of_many_objects_is_told_with_the_option(project: Project) -> None:
    crowd(project, 'c', 149)
    told = (
        'validation: 1 image holds more than 100 objects (150 at most); at most 100 detections of an image are made, '
        "and AP counts 100 of a class. Set evaluation.max_detections: 150 to lift both: AP@150 is then measured beside COCO's AP"
    )
    assert project.plan().remarks() == [told]
    assert told in project.run()
    assert project.plan('evaluation.max_detections=150').remarks() == []
    assert 'more than 120 objects' in project.plan('evaluation.max_detections=120').remarks()[0]
    assert project.plan(select=Selection(only='rpn_1')).remarks() == []  # It detects nothing.


def test_a_detector_of_fewer_detections_is_told_too(project: Project) -> None:
    crowd(project, 'c', 59)
    assert project.plan().remarks() == []
    (told,) = project.plan('model.detection_generator.max_num_detections=50').remarks()
    assert 'holds more than 50 objects (60 at most)' in told and 'evaluation.max_detections: 101' in told


def test_without_the_option_nothing_is_stale_and_with_it_only_metrics_are(project: Project) -> None:
    project.run()
    parts = project.directory.lock().stages['detector_2'].evaluation_parts
    assert not [name for name in parts if 'max_detections' in name]
    stages = project.plan('evaluation.max_detections=150').stages
    assert {stage.action for stage in stages if stage.selected} == {'evaluate'}
    assert str(stages[0].reason) == 'trained, but its metrics are stale: evaluation.max_detections: (none) -> 150'


def test_metrics_at_that_number_have_names_of_their_own(project: Project) -> None:
    pipeline = project.load('evaluation.max_detections=500').pipeline
    names = measured_metrics(pipeline, pipeline.stages[3])
    assert {'AP', 'AP/thing', 'AP@500', 'AP50@500', 'AP75@500', 'AR500', 'AP@500/thing'} <= set(names)
    project.load('evaluation.max_detections=500', "stages.detector_2.require={AP@500: '>= 0.1', AP@500/thing: '>= 0.1'}")
    with pytest.raises(ConfigError, match=r'require\.AP@500: not measured in this stage'):
        project.load("stages.detector_2.require={AP@500: '>= 0.1'}")


@pytest.mark.parametrize(
    'config',
    ['bccd/four_step.yaml', 'bccd/retinanet.yaml', 'bccd/centernet.yaml', 'demo/mask_rcnn.yaml', 'voc07/four_step_vgg16.yaml'],
)
def test_one_option_lifts_the_detections_of_every_detector(config: str) -> None:
    pipeline = load.load_pipeline(ROOT / 'configs' / config, ['evaluation.max_detections=300'], environ=ENVIRON).pipeline
    stage = pipeline.stages[-1]
    assert (detection_limit(pipeline.model), detection_limit(model_as_built(pipeline, stage))) == (100, 300)


def test_a_network_under_models_is_lifted_too(project: Project) -> None:
    text = project.config.read_text()
    model = text[text.index('model:') : text.index('data:')].replace('model:', 'models:\n  other:').replace('\n  ', '\n    ')
    project.config.write_text(text + model.replace('    other:', '  other:') + 'evaluation: {max_detections: 300}\n')
    pipeline = project.load('stages.detector_1.model=other', 'stages.rpn_1.model=other').pipeline
    stage = pipeline.stages[1]
    assert detection_limit(model_as_built(pipeline, stage)) == 300


def test_a_larger_limit_of_the_network_stays(project: Project) -> None:
    overrides = ('evaluation.max_detections=150', 'model.detection_generator.max_num_detections=400')
    pipeline = project.load(*overrides).pipeline
    assert detection_limit(model_as_built(pipeline, pipeline.stages[3])) == 400


def test_fewer_than_coco_counts_are_refused(project: Project) -> None:
    with pytest.raises(ConfigError, match=r'evaluation\.max_detections: found 100 .*; expected greater than 100'):
        project.load('evaluation.max_detections=100')
