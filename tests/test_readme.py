"""The README's table of proofs names tests that are there, for every network that can be named."""

from __future__ import annotations

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
COLUMNS = ['trains in stages', 'freezes', 'resumes bit-exactly', 'evaluates', 'detects']
DETECTORS = ['Faster R-CNN', 'Faster R-CNN of the paper', 'Cascade R-CNN', 'Mask R-CNN', 'RetinaNet', 'CenterNet']
PROOF = re.compile(r'\[(test_\w+)\]\((tests/[\w/]+\.py)\)')


def rows(text: str) -> dict[str, list[str]]:
    """Returns system -> its cells; the first row is the head."""
    table = text.partition('<!-- Proofs: begin.')[2].partition('<!-- Proofs: end.')[0]
    lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines() if line.startswith('|')]
    return {cells[0]: cells[1:] for cells in lines if not cells[0].startswith('---')}


def missing(text: str) -> list[str]:
    """Returns the tests named in the table that are not in the file named beside them."""
    proofs = [proof for cells in rows(text).values() for cell in cells for proof in PROOF.findall(cell)]
    return [name for name, file in proofs if not re.search(rf'^def {name}\(', (ROOT / file).read_text(), flags=re.MULTILINE)]


def test_every_cell_names_a_test_that_is_there_or_says_that_it_is_not_so() -> None:
    text = (ROOT / 'README.md').read_text()
    head, *systems = rows(text).values()
    assert head == COLUMNS
    assert len(systems) >= 4 and all(len(cells) == len(COLUMNS) for cells in systems)
    assert all(PROOF.fullmatch(cell) or cell.startswith('not ') for cells in systems for cell in cells)
    assert missing(text) == []


@pytest.mark.parametrize('system', DETECTORS)
def test_a_detector_has_a_proof_in_every_cell(system: str) -> None:
    assert all(PROOF.fullmatch(cell) for cell in rows((ROOT / 'README.md').read_text())[system])


def test_a_test_that_is_gone_is_noticed() -> None:
    table = '<!-- Proofs: begin. -->\n| | a |\n|---|---|\n| x | [test_gone](tests/test_readme.py) |\n<!-- Proofs: end. -->'
    assert missing(table) == ['test_gone']
