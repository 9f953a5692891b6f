"""`stagetrain verify` finds whatever is not as it was written."""

from __future__ import annotations

import pathlib
import random
import shutil

import pytest

from stagetrain import files
from stagetrain.cli.main import main
from stagetrain.errors import RunDirectoryError
from stagetrain.pipeline.file_checks import Report, verify
from stagetrain.pipeline.lock import read_lock, write_lock
from stagetrain.pipeline.rundir import RunDirectory
from tests.fakes.project import make_project

NUM_FLIPS = 200


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A run directory with four finished stages of fake children and two proposal stores."""
    project = make_project(tmp_path_factory.mktemp('finished'))
    project.run()
    return project.directory.path


@pytest.fixture
def run_dir(finished: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy to damage."""
    return pathlib.Path(shutil.copytree(finished, tmp_path / 'run'))


def checked(run_dir: pathlib.Path) -> Report:
    return verify(RunDirectory(run_dir))


def rewrite_stage(run_dir: pathlib.Path, stage_id: str, name: str, value: object) -> None:
    """Writes a file of a stage anew, and its digest into the lock, as somebody would who wants it to go unseen."""
    path = run_dir / 'stages' / stage_id / name
    files.write_json(path, value)
    lock = read_lock(run_dir / 'pipeline.lock')
    entry = lock.stages[stage_id]
    digests = {**entry.files, f'stages/{stage_id}/{name}': files.sha256_file(path)}
    write_lock(run_dir / 'pipeline.lock', lock.with_stage(stage_id, type(entry)(**{**vars(entry), 'files': digests})))


def test_a_finished_run_is_as_it_was_written(finished: pathlib.Path) -> None:
    report = checked(finished)
    assert report.wrong == ()
    assert 'backbone: the same bits in detector_1, detector_2, rpn_2' in report.remarks
    assert report.num_variables == 3 + 3 + 3 + 4


def test_a_run_that_starts_from_another_is_as_it_was_written(finished: pathlib.Path, tmp_path: pathlib.Path) -> None:
    project = make_project(tmp_path)
    project.run(f'sources.imagenet={{run: {finished}, stage: rpn_1}}')
    assert checked(project.directory.path).wrong == ()


def test_every_single_flipped_bit_is_found(run_dir: pathlib.Path) -> None:
    draw = random.Random(7)
    guarded = (path for path in run_dir.rglob('*') if path.parent.name != 'logs')  # What a log says decides nothing.
    paths = sorted(path for path in guarded if path.is_file() and path.stat().st_size)
    missed = []
    for _ in range(NUM_FLIPS):
        path = draw.choice(paths)
        content = path.read_bytes()
        bit = draw.randrange(len(content) * 8)
        path.write_bytes(content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :])
        if not checked(run_dir).wrong:
            missed.append((path.name, bit))
        path.write_bytes(content)
    assert missed == []
    assert checked(run_dir).wrong == ()


def test_every_missing_file_is_found(run_dir: pathlib.Path) -> None:
    lock = read_lock(run_dir / 'pipeline.lock')
    for name in lock.stages['rpn_2'].files:
        content = (run_dir / name).read_bytes()
        (run_dir / name).unlink()
        assert any(name in text for text in checked(run_dir).wrong), name
        (run_dir / name).write_bytes(content)


def test_a_frozen_variable_that_moved_is_found(run_dir: pathlib.Path) -> None:
    frozen = files.read_json(run_dir / 'stages' / 'rpn_2' / 'frozen.json')
    rewrite_stage(run_dir, 'rpn_2', 'frozen.json', {**frozen, 'backbone/layer/kernel': '0' * 64})
    wrong = '\n'.join(checked(run_dir).wrong)
    assert 'stages.rpn_2: 1 variables were frozen and have other bits in the final checkpoint: backbone/layer/kernel' in wrong
    assert 'stages.rpn_2: 1 variables were frozen and have other bits than in detector_1: backbone/layer/kernel' in wrong


def test_a_frozen_variable_without_proof_is_found(run_dir: pathlib.Path) -> None:
    rewrite_stage(run_dir, 'rpn_2', 'frozen.json', {})
    assert any(
        '2 variables are frozen by the scopes of the stage but are not in frozen.json' in text for text in checked(run_dir).wrong
    )


def test_a_variable_without_origin_is_found(run_dir: pathlib.Path) -> None:
    lineage = files.read_json(run_dir / 'stages' / 'detector_2' / 'lineage.json')
    rewrite_stage(run_dir, 'detector_2', 'lineage.json', {key: lineage[key] for key in lineage if 'decoder' not in key})
    assert any('1 variables have no origin in lineage.json: decoder/layer/kernel' in text for text in checked(run_dir).wrong)


def test_an_origin_that_was_trained_again_is_found(run_dir: pathlib.Path) -> None:
    lock = read_lock(run_dir / 'pipeline.lock')
    entry = lock.stages['detector_1']
    result = {**entry.result, 'digests': dict.fromkeys(entry.result['digests'], '1' * 64)}
    lock = lock.with_stage('detector_1', type(entry)(**{**vars(entry), 'result': result}))
    write_lock(run_dir / 'pipeline.lock', lock)
    assert any('come from weights that detector_1 no longer has' in text for text in checked(run_dir).wrong)


def test_parts_that_do_not_give_the_fingerprint_are_found(run_dir: pathlib.Path) -> None:
    lock = read_lock(run_dir / 'pipeline.lock')
    entry = lock.stages['rpn_1']
    lock = lock.with_stage('rpn_1', type(entry)(**{**vars(entry), 'parts': {**entry.parts, 'train.steps': 9}}))
    write_lock(run_dir / 'pipeline.lock', lock)
    assert 'stages.rpn_1: its fingerprint is not that of its parts in pipeline.lock' in checked(run_dir).wrong


def test_ledger_lines_that_were_taken_out_or_swapped_are_found(run_dir: pathlib.Path) -> None:
    ledger = run_dir / 'ledger.jsonl'
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b''.join(lines[:2] + lines[3:]))
    assert any(
        'ledger.jsonl:3: this line or the one before it is not as it was written' in text for text in checked(run_dir).wrong
    )
    ledger.write_bytes(b''.join([lines[1], lines[0], *lines[2:]]))
    assert any('ledger.jsonl:1:' in text for text in checked(run_dir).wrong)


def test_a_file_of_unknown_origin_is_remarked_and_not_wrong(run_dir: pathlib.Path) -> None:
    (run_dir / 'notes.txt').write_text('mine')
    report = checked(run_dir)
    assert report.wrong == ()
    assert any('1 files that nobody accounts for: notes.txt' in text for text in report.remarks)


def test_the_verb_ends_with_1_and_names_what_is_wrong(run_dir: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['verify', '--files_only', str(run_dir)]) == 0
    assert 'all as it was written' in capsys.readouterr().out
    (run_dir / 'stages' / 'rpn_1' / 'frozen.json').write_text('{}')
    assert main(['verify', '--files_only', str(run_dir)]) == 1
    assert 'frozen.json: its bytes have changed since stages.rpn_1 was finished' in capsys.readouterr().out


def test_what_is_no_run_directory_is_bad_input(tmp_path: pathlib.Path) -> None:
    with pytest.raises(RunDirectoryError, match='expected a run directory'):
        checked(tmp_path)
