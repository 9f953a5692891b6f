"""What the API's variables are called here are names of the real networks."""

from __future__ import annotations

import pathlib

import pytest

from stagetrain.bridges.tfod import freezing, names
from stagetrain.bridges.tfod.extractors import Extractor
from stagetrain.config import load
from stagetrain.training.variables import variable_table
from tests.bridges.tfod import files

RESNET50 = Extractor('keras_resnet50', 50)
KERAS = Extractor('keras_resnet50', 50, is_keras=True)
PYRAMID = Extractor('keras_resnet101', 101, is_keras=True, has_pyramid=True)
TWO = names.Shape('faster_rcnn_single_scale', batch_norm_trains=True)
CASES = {
    'faster': [(RESNET50, TWO), (KERAS, TWO)],
    'pyramid': [(PYRAMID, names.Shape('faster_rcnn', True, levels=(2, 6)))],
    'masks': [(RESNET50, names.Shape('mask_rcnn', True)), (KERAS, names.Shape('mask_rcnn', True))],
    'retinanet': [(extractor, names.Shape('retinanet', True, num_convs=2)) for extractor in (RESNET50, KERAS)],
    'centernet': [(KERAS, names.Shape('centernet'))],
}


@pytest.mark.slow
@pytest.mark.parametrize('name', CASES)
def test_every_variable_has_a_real_counterpart(tmp_path: pathlib.Path, name: str) -> None:
    text = files.ALL[name].replace('fine_tune_checkpoint:', '# fine_tune_checkpoint:')
    (tmp_path / 'pipeline.yaml').write_text(files.import_text(tmp_path, text).pipeline)
    rows = variable_table(load.load_pipeline(tmp_path / 'pipeline.yaml').pipeline)
    real = {str(next(iter(row.values()))) for row in rows}
    for extractor, shape in CASES[name]:
        found = {one for variable in names.variables(extractor, shape) for one in freezing.canonical_names(variable)}
        assert found - real == set()
