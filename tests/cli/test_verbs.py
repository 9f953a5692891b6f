"""A verb, and an option of `plan` that computes, is finished when a test runs it: every one has its row here."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from stagetrain.cli import arguments, command_line, main
from tests.fakes.project import ROOT

RUN_BY = {
    'run': 'tests/cli/test_main.py::test_run_then_status_then_run_again',
    'plan': 'tests/cli/test_main.py::test_plan_tells_what_happens_to_each_stage',
    'plan --expand': 'tests/cli/test_expand.py::',
    'plan --variables': 'tests/training/test_cost.py::test_the_cost_and_the_variables_of_every_shipped_stage_are_known',
    'plan --cost': 'tests/training/test_cost.py::test_the_cost_and_the_variables_of_every_shipped_stage_are_known',
    'check': 'tests/cli/test_main.py::test_check_says_correct',
    'status': 'tests/cli/test_main.py::test_run_then_status_then_run_again',
    'compare': 'tests/cli/test_main.py::test_compare_runs_the_variants_and_writes_the_report',
    'eval': 'tests/cli/test_main.py::test_eval_prints_the_metrics_and_trains_nothing',
    'detect': 'tests/cli/test_end_to_end.py::test_detect_prints_our_lines_and_nothing_of_the_libraries',
    'export': 'tests/cli/test_export.py::test_a_plugins_format_holds_every_variable_of_the_stage',
    'verify': 'tests/reliability/test_verify.py::',
    'data': 'tests/cli/test_data.py::test_the_sets_of_a_pipeline_file_are_checked',
    'weights': 'tests/cli/test_weights.py::test_show_lists_names_shapes_and_values',
    'import-tfod': 'tests/bridges/tfod/test_import_verb.py::test_a_file_becomes_a_pipeline_file_and_a_report',
    'verify-resume': 'tests/reliability/test_verify_resume.py::test_a_killed_and_resumed_stage_is_equal',
    'schema': 'tests/cli/test_main.py::test_schema_is_json_that_knows_the_stages',
    'clean': 'tests/cli/test_main.py::test_clean_removes_what_no_stage_reads',
    'completion': 'tests/cli/test_verbs.py::test_completion_prints_a_script_that_the_shell_reads',
}
"""Verb -> the test that runs it; a file alone where all its tests do."""


def test_every_verb_is_run_by_a_test() -> None:
    assert set(command_line.verbs_of(arguments.parser())) == set(main._VERBS) == {verb.split(' ')[0] for verb in RUN_BY}
    assert {f'plan {option}' for option in ('--expand', '--variables', '--cost')} <= set(RUN_BY)


def test_the_tests_of_verbs_are_there() -> None:
    for verb, place in RUN_BY.items():
        file, _, name = place.partition('::')
        text = (ROOT / file).read_text()
        assert re.search(rf'^def {name or "test_"}', text, re.MULTILINE), (verb, place)


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yields the parsers of all verbs, and of their actions."""
    for verb in command_line.verbs_of(parser).values():
        yield verb
        yield from _parsers(verb)


def test_every_help_has_one_example_that_parses() -> None:
    for verb in _parsers(arguments.parser()):
        (example,) = re.findall(r'^Example: (.*)$', verb.format_help(), re.MULTILINE)
        program, *words = shlex.split(example.partition(' > ')[0])
        assert f'{program} {" ".join(words)} '.startswith(f'{verb.prog} '), verb.prog
        assert command_line.parsed(arguments.parser(), words, arguments.parser).command == words[0]


def test_every_argument_of_every_verb_is_described() -> None:
    for verb in _parsers(arguments.parser()):
        for action in verb._actions:
            assert action.help or isinstance(action, argparse._SubParsersAction), (verb.prog, action.dest)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('rnu four.yaml', "argument VERB: invalid choice: 'rnu' | Did you mean 'run'?"),
        ('data chek x', "Did you mean 'check'?"),
        ('data convert x --to voc --out y --on_bad skipp', "Did you mean 'skip'?"),
        ('run four.yaml --onyl=rpn_1', "stagetrain run: error: unrecognized arguments: --onyl=rpn_1. Did you mean '--only'?"),
        (
            'weights show x --scoop y',
            "stagetrain weights show: error: unrecognized arguments: --scoop. Did you mean '--scope'?",
        ),
        ('status run extra', 'stagetrain status: error: unrecognized arguments: extra\n'),
        ('--verson', "Did you mean '--version'?"),
        ('status run evil\x1b[2J', 'unrecognized arguments: evil\\x1b[2J\n'),
        ('compare four.yaml --seeds two', "argument --seeds: found 'two'; expected a whole number above 0"),
        ('compare four.yaml --seeds 0', "argument --seeds: found '0'; expected a whole number above 0"),
        ('data', 'usage: stagetrain data [-h] {check,convert} ...'),
    ],
)
def test_what_is_not_known_gets_the_nearest(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(shlex.split(words))
    said = capsys.readouterr().err
    assert ended.value.code == 2
    for part in message.split('|'):
        assert part in said


def test_a_command_without_words_shows_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main([])
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, '')
    assert all(f'\n    {verb}' in said.err for verb in RUN_BY if ' ' not in verb)


def test_completion_prints_a_script_that_the_shell_reads(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ('bash', 'zsh'):
        assert main.main(['completion', shell]) == 0
        script = capsys.readouterr().out
        assert script.startswith(f'# Completes stagetrain in {shell}: ') and '_stagetrain stagetrain\n' in script
        if shutil.which(shell):
            subprocess.run([shell, '-n'], input=script, text=True, check=True)
