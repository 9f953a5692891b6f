from __future__ import annotations

import json
import pathlib
from typing import Any

import pydantic
import pytest

from stagetrain.config import model_rules, schema, specs
from stagetrain.config.model_garden import networks
from stagetrain.config.model_garden.decoders import Decoder
from stagetrain.errors import ConfigError

SCHEMA_FILE = pathlib.Path(__file__).parents[2] / 'configs' / 'schema.json'


def test_the_shipped_json_schema_is_current() -> None:
    """Made anew by `python -m stagetrain.config.schema > configs/schema.json`."""
    assert json.loads(SCHEMA_FILE.read_text()) == schema.json_schema()


def test_the_json_schema_is_that_of_files_as_they_are_written() -> None:
    described = schema.json_schema()
    assert {'base', 'train', 'stages'} <= set(described['properties'])
    assert 'required' not in described
    assert described['$defs']['Stage']['required'] == ['name', 'loss_weights']
    assert described['$defs']['Stage']['properties']['init']['additionalProperties']['anyOf'][0] == {'type': 'string'}


def test_every_key_of_a_pipeline_is_documented() -> None:
    described = schema.json_schema()
    undocumented = {
        f'{name}.{key}'
        for name in ('Data', 'DataSource', 'Evaluation', 'Init', 'Proposals', 'Runtime', 'Source', 'Stage', 'Train', 'Variant')
        for key, field in described['$defs'][name]['properties'].items()
        if 'description' not in field
    }
    assert undocumented == set()


def test_a_choice_names_its_branches() -> None:
    with pytest.raises(
        pydantic.ValidationError, match=r"found 'fpm', expected one of aspp, fpn, identity, nasfpn\. Did you mean 'fpn'\?"
    ):
        Decoder(type='fpm')
    with pytest.raises(pydantic.ValidationError, match=r"options of 'fpn' are given, but type is not given"):
        Decoder.model_validate({'fpn': {'num_filters': 8}})


@pytest.mark.parametrize('value', [True, 1.5, '1', None])
def test_an_integer_of_the_model_garden_takes_integers_only(value: Any) -> None:
    with pytest.raises(pydantic.ValidationError, match='valid integer'):
        networks.FasterRcnn.model_validate({'min_level': value})


def test_unknown_options_of_the_model_garden_are_refused() -> None:
    with pytest.raises(pydantic.ValidationError, match='Extra inputs are not permitted'):
        networks.FasterRcnn.model_validate({'rpn_head': {'num_conv': 1}})


def test_masks_and_weights_are_no_options_here() -> None:
    fields = set(specs.detector('faster_rcnn').options.model_fields)
    assert not fields & {'include_mask', 'mask_head', 'num_classes', 'rpn_score_weight'}


def test_a_mask_rcnn_has_no_cascade() -> None:
    cascade = {'type': 'mask_rcnn', 'roi_sampler': {'cascade_iou_thresholds': [0.6]}}
    model = specs.model_type(specs.detector('mask_rcnn')).model_validate(cascade)
    refused = {'.'.join(map(str, path)): text for path, text in model_rules.problems(model, num_classes=3)}
    assert 'only None is supported, so remove it' in refused['roi_sampler.cascade_iou_thresholds']


def test_a_spec_is_found_by_name_or_the_known_ones_are_told() -> None:
    assert specs.detector('faster_rcnn').proposal_modules == ('backbone', 'decoder', 'rpn_head')
    assert specs.backbone('resnet') is None
    with pytest.raises(ConfigError, match=r"model\.type: found 'faster', known here: .*Did you mean 'faster_rcnn'\?"):
        specs.detector('faster')
    with pytest.raises(ConfigError, match=r"format: found 'vok', known here: .*voc"):
        specs.data_format('vok')


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ConfigError, match="'voc' is registered already, as .*; expected a new name"):
        specs.register_format(specs.FormatSpec('voc', 'elsewhere:read'))
    specs.register_format(specs.data_format('voc'))
