"""Run directories read back: variants, costs, curves."""

from __future__ import annotations

import pytest

from stagetrain.errors import DamagedFile, RunDirectoryError
from stagetrain.evaluation import summary


def test_variants_are_the_pipeline_and_what_it_compares_with(finished_run):
    (run,) = summary.load_summaries(finished_run)
    assert [(variant.name, variant.stages, variant.result) for variant in run.variants] == [
        ('four_step', ('rpn_1', 'detector_1', 'rpn_2'), 'rpn_2'),
        ('end_to_end', ('end_to_end.joint',), 'end_to_end.joint'),
        ('unshared', ('rpn_1', 'detector_1'), 'detector_1'),
    ]


def test_variant_counts_the_stages_that_it_starts_from(finished_run):
    text = (finished_run / 'run.yaml').read_text()
    (finished_run / 'run.yaml').write_text(
        text.replace('joint, init: {backbone: imagenet}', 'joint, init: {backbone: detector_1}')
    )
    (run,) = summary.load_summaries(finished_run)
    assert run.variants[1].stages == ('rpn_1', 'detector_1', 'end_to_end.joint')


def test_variant_with_the_pipelines_name_does_not_hide_it(finished_run):
    text = (finished_run / 'run.yaml').read_text()
    (finished_run / 'run.yaml').write_text(text.replace('unshared:', 'four_step:'))
    (run,) = summary.load_summaries(finished_run)
    assert [variant.name for variant in run.variants] == ['four_step (pipeline)', 'end_to_end', 'four_step']


def test_finished_stage_knows_its_cost_and_its_store(finished_run):
    (run,) = summary.load_summaries(finished_run)
    assert run.stages['detector_1'] == summary.StageSummary(
        steps=10,
        images=40,
        seconds=5.0,
        seconds_by_part={'training': 4.0, 'evaluation': 1.0},
        trained_parameters=2000,
        metrics={'AP': 0.4, 'AP50': 0.8, 'AP75': 0.3, 'AR100': 0.5},
        stores=('abc',),
        versions={'onednn': 'on', 'tensorflow': '2.20.0'},
    )
    assert run.stages['rpn_1'].stores == ()
    assert {key: made.seconds for key, made in run.artefacts.items()} == {'abc': 2.0, 'other': 100.0}


def test_curves_leave_out_regularisation_and_unmeasured_ap(finished_run):
    (run,) = summary.load_summaries(finished_run)
    assert run.curves['rpn_1'] == summary.Curves(loss=((2.0, 0.75), (4.0, 0.75)))
    assert run.curves['detector_1'] == summary.Curves(ap=((3.0, 0.2),))
    assert run.curves['rpn_2'] == summary.Curves()


def test_unfinished_stages_are_absent(make_run):
    (run,) = summary.load_summaries(make_run({'rpn_1': {}}))
    assert list(run.stages) == ['rpn_1']


def test_several_runs_keep_their_order(make_run):
    runs = [make_run({}, name='b'), make_run({}, name='a')]
    assert [run.label for run in summary.load_summaries(*runs)] == ['b', 'a']


def test_folder_without_run_yaml_is_refused(tmp_path):
    with pytest.raises(RunDirectoryError, match='no run.yaml in it; expected a run directory'):
        summary.load_summaries(tmp_path)


def test_damaged_metrics_name_the_line(finished_run):
    (finished_run / 'stages/rpn_2/metrics.jsonl').write_text('{"step": 1}\nno\n{"step": 2}\n')
    with pytest.raises(DamagedFile, match=r'rpn_2/metrics.jsonl:2'):
        summary.load_summaries(finished_run)
