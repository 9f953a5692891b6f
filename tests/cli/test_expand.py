"""`plan --expand` prints a pipeline file that stands for the one with a recipe."""

from __future__ import annotations

import pathlib

import pytest

from stagetrain.cli import main
from stagetrain.config.load import load_pipeline
from tests.fakes.project import PIPELINE


def test_the_printed_file_loads_to_an_equal_pipeline(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_recipe = PIPELINE[: PIPELINE.index('stages:')] + 'recipe: {name: four_step, init: {backbone: imagenet}}\n'
    (tmp_path / 'recipe.yaml').write_text(with_recipe)
    assert main.main(['plan', str(tmp_path / 'recipe.yaml'), '--expand', '--set', 'stages.rpn_2.train.steps=3']) == 0
    printed = capsys.readouterr().out
    (tmp_path / 'written.yaml').write_text(printed)
    written = load_pipeline(tmp_path / 'written.yaml').pipeline
    assert written == load_pipeline(tmp_path / 'recipe.yaml', ['stages.rpn_2.train.steps=3']).pipeline
    assert [stage.train.steps for stage in written.stages] == [8, 8, 3, 8]
    assert 'recipe' not in printed.replace(str(tmp_path), '')
