"""How the keys of a source reach the job and the fingerprint."""

from __future__ import annotations

import json
import pathlib

import pytest

from stagetrain.errors import ConfigError
from tests.fakes.project import Project


def test_rules_and_least_coverage_reach_the_job(project: Project) -> None:
    project.run(r"sources.imagenet.rules={'(.*)': 'backbone/\1'}", 'sources.imagenet.require=0.9')
    job = json.loads((project.directory.path / 'stages/rpn_1/job.json').read_text())
    origin = job['origins']['backbone']
    assert (origin['kind'], origin['rules'], origin['require']) == ('keras_h5', {'(.*)': r'backbone/\1'}, 0.9)


def test_changed_rules_make_a_stage_stale(project: Project) -> None:
    project.run()
    assert project.actions()['rpn_1'] == 'skip'
    assert project.actions(r"sources.imagenet.rules={'a': b}")['rpn_1'] == 'run'


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('sources.imagenet.rules={"(": b}', r"sources\.imagenet\.rules: '\(' -> 'b' is no regular expression with its template"),
        (
            r"sources.imagenet.rules={'a': '\1'}",
            r"'a' -> '\\1' is no regular expression with its template: invalid group reference",
        ),
        ('sources.imagenet.stage=rpn_1', 'stage: goes with run only; found beside keras_h5'),
        ('sources.imagenet={run: x, rules: {a: b}}', 'rules: found beside run; the names in a run directory are canonical'),
        ('sources.imagenet={run: x, saved_model: y}', 'expected exactly one of .*; found saved_model and run'),
        ('sources.imagenet.require=1.5', r'sources\.imagenet\.require: found 1\.5'),
        ('sources.imagenet={saved_model: ""}', r'sources\.imagenet\.saved_model: is empty; expected a path'),
    ],
)
def test_slips_in_a_source_are_told(project: Project, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        project.load(override)


def test_paths_of_all_kinds_are_relative_to_the_file(project: Project, tmp_path: pathlib.Path) -> None:
    text = project.config.read_text().replace('{keras_h5: weights.h5}', '{tf1_checkpoint: vgg/model.ckpt}')
    project.config.write_text(text)
    assert project.load().pipeline.sources['imagenet'].path == str(tmp_path / 'vgg/model.ckpt')
