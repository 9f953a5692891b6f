"""Child processes begin with the environment that they need."""

from __future__ import annotations

import os
import pathlib
import sys

import pytest

from stagetrain.errors import StageFailed
from stagetrain.workers import process


@pytest.mark.parametrize(('given', 'seen'), [({}, '2'), ({'MALLOC_ARENA_MAX': '7'}, '7')])
def test_a_child_has_few_heaps_unless_the_user_says_otherwise(tmp_path: pathlib.Path, given: dict[str, str], seen: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name != 'MALLOC_ARENA_MAX'} | given
    child = process.start_child((sys.executable, '-c', "import os; print('heaps:', os.environ['MALLOC_ARENA_MAX'])"), environ)
    with pytest.raises(StageFailed, match=f'heaps: {seen}'):  # It ends without an answer, and its last words are told.
        child.carry_out(tmp_path / 'job.json', lambda event: None)
