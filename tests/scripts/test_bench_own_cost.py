"""The benchmark of the runner's own cost: what counts."""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / 'scripts'))
import bench_own_cost


def test_checkpoints_and_proofs_of_all_stages_and_the_commands_own_process_count() -> None:
    parts = {'training': 6.0, 'evaluation': 1.0, 'checkpoints': 0.5, 'proofs': 0.25}
    report = bench_own_cost.report_of({name: {'seconds': 10.0, 'seconds_by_part': parts} for name in ('rpn_1', 'rpn_2')}, 0.5)
    assert list(report['parts'].values()) == [1.0, 0.5, 0.5]
    assert report['share'] == 0.1


def test_the_table_can_be_pasted() -> None:
    report = {'stages': {'rpn_1': 8.0, 'detector_1': 2.0}, 'parts': {'checkpoints': 0.1, 'proofs': 0.05}}
    assert bench_own_cost.markdown(report).splitlines()[2:] == [
        '| checkpoints | 0.10 | 1.00% |',
        '| proofs | 0.05 | 0.50% |',
        '| **all** | 0.15 | 1.50% |',
        '',
        'Of 10 seconds in four stages.',
    ]
