"""`plan --cost` and `plan --variables` know every stage of every shipped config."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from stagetrain.config import load, schema
from stagetrain.config.stages import StageEntry, all_stages, live_losses, model_of
from stagetrain.training import cost, variables
from tests import tiny

pytestmark = pytest.mark.slow
CONFIGS = sorted(path for path in (tiny.ROOT / 'configs').glob('*/*.yaml') if path.parent.name != 'models')
NARROW = {
    'mask_rcnn': (*tiny.FEW_ROIS, 'model.mask_sampler.num_sampled_masks=4'),
    'faster_rcnn': tiny.FEW_ROIS,
    'faster_rcnn_single_scale': ('model.backbone.keras_vgg16.width=0.0625', 'model.roi_head.fc.fc_dims=8'),
}
"""Type of a network -> what makes it cheap here."""


def loaded(config: pathlib.Path, places: dict[str, str]) -> schema.PipelineBase:
    """Returns a shipped pipeline on small images."""
    environ = {**places, 'FORMER_RUN': places['WEIGHTS'], 'RESNET50': places['WEIGHTS']}  # Nothing is read there.
    kind = load.load_pipeline(config, environ=environ).pipeline.model.type
    narrow = NARROW.get(kind, ()) if 'c4' not in config.name else ()
    return load.load_resolved(tiny.shipped(f'{config.parent.name}/{config.name}', environ, *narrow)).pipeline


def _alike(pipeline: schema.PipelineBase, entry: StageEntry) -> str:
    """Returns what decides how a stage's step is built: stages that are alike here need not be measured twice."""
    stage = entry.stage
    keys: dict[str, Any] = {
        'model': model_of(pipeline, stage).model_dump(),
        'terms': sorted(live_losses(stage)),
        'proposals': stage.proposals is not None,
        'frozen': [stage.freeze_variables, stage.freeze_up_to, stage.train_variables],
    }
    return json.dumps(keys, sort_keys=True, default=str)


@pytest.fixture(scope='module')
def measured() -> set[str]:
    """The stages that a test of this file has measured."""
    return set()


@pytest.mark.parametrize('config', CONFIGS, ids=lambda path: path.stem)
def test_the_cost_and_the_variables_of_every_shipped_stage_are_known(
    config: pathlib.Path, places: dict[str, str], measured: set[str]
) -> None:
    pipeline = loaded(config, places)
    new = {_alike(pipeline, entry): entry for entry in all_stages(pipeline)}
    left = [entry for key, entry in new.items() if key not in measured]
    measured |= new.keys()
    if not left:
        return
    rows = variables.variable_table(pipeline)
    assert all('trained' in {row[entry.id].partition(': ')[2] for row in rows} for entry in left)
    alone = pipeline.model_copy(update={'stages': [entry.stage for entry in left], 'compare': {}})
    found = cost.probe(alone, {entry.id: 10 for entry in all_stages(alone)})
    assert all(row['ms_per_step'] > 0.0 for row in found) and len(found) == len(left)
