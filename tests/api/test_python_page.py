"""Every block of code in docs/python.md runs, in order, on a small finished run."""

from __future__ import annotations

import pathlib
import re
import shutil
from typing import Any

import pytest

from tests.fakes.project import ROOT


@pytest.mark.slow
def test_the_code_on_the_page_runs(
    tiny_run: Any, tiny_data: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r'```python\n(.*?)```', (ROOT / 'docs/python.md').read_text(), re.DOTALL)
    (tmp_path / 'configs/bccd').mkdir(parents=True)
    shutil.copy(tiny_run.config, tmp_path / 'configs/bccd/four_step.yaml')
    shutil.copytree(tiny_run.run_dir, tmp_path / 'runs/bccd')
    shutil.copy(next((tiny_data / 'JPEGImages').iterdir()), tmp_path / 'image.jpg')
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks:
        lines = block.replace("['backbone/conv1/kernel']", '')  # A name of another backbone than this run's.
        exec(compile(lines, 'docs/python.md', 'exec'), names)
    assert len(blocks) >= 6
    assert {stage.action for stage in names['plan'].stages if stage.selected} == {'skip'}
    assert names['run'].stages['detector_2'].metrics['AP'] is not None
    assert len(names['found'].scores) == len(names['found'].to_coco())
    assert set(names['model'].modules) == {'backbone', 'decoder', 'rpn_head'}
    assert all(name.startswith('rpn_head/') for name in names['model'].trained)
    assert names['shorter'].config.seed == 7
