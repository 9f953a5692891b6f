"""The shell's own completion, by the script that `stagetrain completion` prints."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

import pytest

from stagetrain.cli import arguments, command_line, completion
from stagetrain.data import writers

_IN_BASH = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _stagetrain; printf "%s\n" "${COMPREPLY[@]}"'
"""What bash does when the person asks for a completion of the last word."""
_IN_ZSH = """compdef() { :; }; compset() { :; }; _files() { print -r -- files "$@"; }
compadd() { shift; print -rl -- "$@"; }
source "$1"; shift; words=("$@"); CURRENT=$#; _stagetrain"""
"""The same for zsh, whose line editor compares words and looks for files."""


@pytest.fixture(scope='module')
def scripts(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the script for each shell."""
    folder = tmp_path_factory.mktemp('scripts')
    for shell in ('bash', 'zsh'):
        (folder / shell).write_text(completion.script(shell, arguments.parser()))
    return folder


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder with two pipeline files, a run directory, and other files."""
    (tmp_path / 'four.yaml').write_text('stages:\n  - name: rpn_1\n    train: {steps: 5}\n  - {name: detector_1}\n')
    (tmp_path / 'my own.yml').touch()
    (tmp_path / 'photo.jpg').touch()
    (tmp_path / 'runs/mine/stages/rpn_2').mkdir(parents=True)
    return tmp_path


def _completed(command: list[str], script: pathlib.Path, folder: pathlib.Path, words: list[str]) -> list[str]:
    line = [*command, 'shell', str(script), 'stagetrain', *words]
    done = subprocess.run(line, capture_output=True, text=True, cwd=folder, check=True, timeout=60)
    assert not done.stderr, done.stderr
    return sorted(line for line in done.stdout.splitlines() if line)


@pytest.mark.parametrize(
    ('words', 'offered'),
    [
        (['ru'], ['run']),
        (['verify'], ['verify', 'verify-resume']),
        (['data', 'c'], ['check', 'convert']),
        (['--verbosity=1', 'weights', ''], ['diff', 'show']),
        (['run', '--o'], ['--only']),
        (['run', 'four.yaml', '--st'], ['--stderrthreshold']),
        (['data', 'convert', 'x', '--on_bad', ''], ['error', 'skip']),
        (['data', 'convert', 'x', '--to', 'c'], ['coco', 'csv', 'csv_header']),
        (['eval', 'runs/mine', '--format=vo'], ['--format=voc']),
        (['run', '--stderrthreshold', '=', 'i'], ['info']),
        (['run', ''], ['four.yaml', 'my own.yml', 'runs']),
        (['run', 'fo'], ['four.yaml']),
        (['status', ''], ['runs']),
        (['status', 'runs/'], ['runs/mine']),
        (['plan', 'four.yaml', '--run_dir', '=', 'ru'], ['runs']),
        (['detect', 'runs/mine', 'p'], ['photo.jpg']),
        (['plan', 'four.yaml', '--only', ''], ['detector_1', 'rpn_1']),
        (['detect', 'runs/mine', 'photo.jpg', '--stage', 'r'], ['rpn_2']),
        (['plan', 'four.yaml', '--set', ''], []),
        (['completion', ''], ['bash', 'zsh']),
    ],
)
def test_bash_offers(scripts: pathlib.Path, folder: pathlib.Path, words: list[str], offered: list[str]) -> None:
    assert _completed(['bash', '--norc', '-c', _IN_BASH], scripts / 'bash', folder, words) == offered


@pytest.mark.skipif(shutil.which('zsh') is None, reason='no zsh here')
@pytest.mark.parametrize(
    ('words', 'offered'),
    [
        (['data', 'c'], ['check', 'convert']),
        (['run', ''], ['files -g *.y(a|)ml']),
        (['status', 'r'], ['files -/']),
        (['plan', 'four.yaml', '--only='], ['detector_1', 'rpn_1']),
        (['data', 'convert', 'x', '--on_bad', ''], ['error', 'skip']),
    ],
)
def test_zsh_offers(scripts: pathlib.Path, folder: pathlib.Path, words: list[str], offered: list[str]) -> None:
    assert _completed(['zsh', '-f', '-c', _IN_ZSH], scripts / 'zsh', folder, words) == offered


def test_every_verb_and_every_option_is_offered() -> None:
    script = completion.script('bash', arguments.parser())
    for name, verb in command_line.verbs_of(arguments.parser()).items():
        (line,) = [line for line in script.splitlines() if line.startswith(f"        ' {name}') options=")]
        shown = {option for action in verb._actions if action.help != '==SUPPRESS==' for option in action.option_strings}
        assert {option for option in shown if option.startswith('--')} <= set(line.replace("'", ' ').split()), name
    assert all(f' {name}' in script for name in writers.WRITERS)
