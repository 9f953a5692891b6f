"""The benchmark of the runner's own cost: what counts, and once only."""

from __future__ import annotations

import cProfile
import pathlib
import pstats
import sys

from stagetrain import files
from stagetrain.pipeline.ledger import Ledger

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / 'scripts'))
import bench_own_cost


def test_lines_of_the_ledger_do_not_count_as_metrics(tmp_path: pathlib.Path) -> None:
    profile = cProfile.Profile()
    profile.runcall(Ledger(tmp_path / 'ledger.jsonl').record, 'note', 'rpn', 'text')
    assert bench_own_cost.own_seconds(pstats.Stats(profile))['metrics'] == 0.0
    profile.runcall(files.append_json_line, tmp_path / 'metrics.jsonl', {'step': 1})
    found = bench_own_cost.own_seconds(pstats.Stats(profile))
    assert found['metrics'] > 0.0 == found['digests and the freeze proof']


def test_the_table_can_be_pasted() -> None:
    report = {'stages': {'rpn_1': 8.0, 'detector_1': 2.0}, 'parts': {'metrics': 0.1, 'digests': 0.05}}
    assert bench_own_cost.markdown(report).splitlines()[2:] == [
        '| metrics | 0.10 | 1.00% |',
        '| digests | 0.05 | 0.50% |',
        '| **all** | 0.15 | 1.50% |',
        '',
        'Of 10 seconds in four stages.',
    ]
