"""Whatever changes between a kill and the next start: it is on the short list of cosmetic keys, or the stage is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest

from stagetrain.cli import prepare
from stagetrain.config import options
from stagetrain.errors import ConfigError
from stagetrain.pipeline.plan import make_plan
from stagetrain.pipeline.rundir import Partial, State
from tests.fakes.project import Project, make_project

MAY_CHANGE = {'train.checkpoint_interval', 'train.summary_interval', 'train.max_to_keep'}
"""Keys of a stage that a half-done one may have changed; docs/reliability.md lists them."""


@pytest.fixture(scope='module')
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp('changes'))


def leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yields path and value of every setting that counts or not, of branches that were chosen."""
    if isinstance(value, pydantic.BaseModel):
        names = list(type(value).model_fields)
        if isinstance(value, options.OneOf):
            names = [name for name in names if name in ('type', value.type)]
        for name in names:
            yield from leaves(f'{path}.{name}', getattr(value, name))
    elif isinstance(value, bool | int | float):
        yield path, value


def other(value: Any) -> str:
    return json.dumps(not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value / 2 + 0.01)


def refused(project: Project, *overrides: str) -> str | None:
    """Returns why a half-done rpn_1 does not go on with `overrides`, or None when it does."""
    before = project.load()
    facts = prepare.gather_facts(before.pipeline, None)
    stage = make_plan(before, facts).stages[0]
    assert stage.fingerprint is not None
    state = State(project.directory.lock(), {'rpn_1': Partial(stage.fingerprint, stage.parts, 4)}, {})
    try:
        make_plan(project.load(*overrides), facts, state)
    except ConfigError as error:
        return str(error)
    return None


def test_nothing_changed_goes_on(project: Project) -> None:
    assert refused(project) is None


def test_each_key_of_training_is_cosmetic_or_refused(project: Project) -> None:
    train = project.load().pipeline.stages[0].train
    found = {path: refused(project, f'stages.rpn_1.{path}={other(value)}') for path, value in leaves('train', train)}
    assert len(found) >= 9
    assert {path for path, reason in found.items() if reason is None} == MAY_CHANGE
    for path in ('train.steps', 'train.batch_size', 'train.optimizer.sgd.momentum', 'train.learning_rate.constant.learning_rate'):
        assert f'half-done (step 4) and has changed since: {path}: ' in str(found[path])


def test_each_key_of_the_model_is_refused(project: Project) -> None:
    model = project.load().pipeline.model
    found = {path: refused(project, f'{path}={other(value)}') for path, value in leaves('model', model)}
    assert len(found) > 40
    assert {path for path, reason in found.items() if reason is None} == set()


@pytest.mark.parametrize(
    'override',
    [
        'seed=1',
        'stages.rpn_1.seed=1',
        'runtime.intra_op_threads=1',
        'runtime.deterministic=false',
        'stages.rpn_1.loss_weights.rpn_box=2.0',
        'stages.rpn_1.freeze_variables=["backbone/conv1/.*"]',
        'stages.rpn_1.init.backbone=fresh',
        'data.train.include_difficult=true',
        'data.classes=[thing, other]',
    ],
)
def test_other_keys_that_decide_the_result_are_refused(project: Project, override: str) -> None:
    assert 'has changed since' in str(refused(project, override))


@pytest.mark.parametrize('override', ['name=other', 'data.cache_gib=0.5', 'evaluation.batch_size=2'])
def test_cosmetic_keys_of_the_pipeline_may_change(project: Project, override: str) -> None:
    assert refused(project, override) is None
