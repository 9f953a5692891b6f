"""The ledger is readable at every moment."""

from __future__ import annotations

import pathlib
import re

import pytest

from stagetrain.pipeline.ledger import Ledger


def test_lines_carry_time_event_job_and_reason(tmp_path: pathlib.Path) -> None:
    ledger = Ledger(tmp_path / 'ledger.jsonl')
    ledger.record('started', 'rpn_1', 'not run yet', {'fingerprint': 'ab'})
    (line,) = ledger.read()
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', line.pop('time'))
    assert line == {'event': 'started', 'job': 'rpn_1', 'text': 'not run yet', 'fingerprint': 'ab'}


def test_a_torn_line_is_left_out_and_the_next_one_stands_alone(tmp_path: pathlib.Path) -> None:
    ledger = Ledger(tmp_path / 'ledger.jsonl')
    ledger.record('started', 'rpn_1', 'a')
    with open(ledger.path, 'ab') as file:
        file.write(b'{"event":"fini')
    assert [line['text'] for line in ledger.read()] == ['a']
    ledger.record('finished', 'rpn_1', 'b')
    assert [line['text'] for line in ledger.read()] == ['a', 'b']


def test_an_unknown_event_is_a_defect(tmp_path: pathlib.Path) -> None:
    with pytest.raises(AssertionError, match='begun'):
        Ledger(tmp_path / 'ledger.jsonl').record('begun', None, '')
