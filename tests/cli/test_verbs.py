"""A verb, and an option of `plan` that computes, is finished when a test runs it: every one has its row here."""

from __future__ import annotations

import argparse
import re

from stagetrain.cli import main
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
}
"""Verb -> the test that runs it; a file alone where all its tests do."""


def test_every_verb_is_run_by_a_test() -> None:
    (verbs,) = (action for action in main._parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert set(verbs.choices) == {verb.split(' ')[0] for verb in RUN_BY}
    assert {f'plan {option}' for option in ('--expand', '--variables', '--cost')} <= set(RUN_BY)


def test_the_tests_of_verbs_are_there() -> None:
    for verb, place in RUN_BY.items():
        file, _, name = place.partition('::')
        text = (ROOT / file).read_text()
        assert re.search(rf'^def {name or "test_"}', text, re.MULTILINE), (verb, place)
