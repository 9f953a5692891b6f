"""Comparisons: sums over stages, means over seeds, and what is shown and written."""

from __future__ import annotations

import io
import json

import pytest
import rich.console

from stagetrain.evaluation import compare
from tests.evaluation.conftest import TRAIN


def test_costs_are_summed_over_the_stages_and_the_stores_they_used(finished_run):
    rows = {row.name: row for row in compare.comparison(*compare.load_summaries(finished_run)).rows}
    four_step = rows['four_step']
    assert (four_step.steps, four_step.images, four_step.trained_parameters) == (30, 120, 4000)
    assert four_step.seconds == 5.0 + 5.0 + 3.5 + 2.0
    assert four_step.seconds_by_part == {'training': 12.0, 'evaluation': 3.0, 'proposals': 2.0}
    assert (rows['end_to_end'].steps, rows['end_to_end'].seconds) == (20, 5.0)
    assert (rows['unshared'].steps, rows['unshared'].seconds) == (20, 12.0)


def test_metrics_are_the_results_and_recall_that_of_its_proposals(finished_run):
    rows = {row.name: row.metrics for row in compare.comparison(*compare.load_summaries(finished_run)).rows}
    assert rows['four_step'] == {'AP': 0.5, 'AP50': 0.85, 'AP75': None, 'AR100': 0.6, 'recall_0.5': 0.95}
    assert rows['unshared'] == {'AP': 0.4, 'AP50': 0.8, 'AP75': 0.3, 'AR100': 0.5, 'recall_0.5': 0.9}


CLASSIFIER = """
models: {classifier: {type: experiment, name: image_classification, modules: [backbone, top]}}
compare:
  classified:
    stages: [{name: classify, model: classifier, loss_weights: {loss: 1.0}, train: TRAIN}]
"""


def test_an_experiment_is_compared_by_the_metrics_of_its_task(make_run, all_results):
    measured = {'classified.classify': {'metrics': {'accuracy': 0.9, 'validation_loss': 0.25}}}
    run_dir = make_run({**all_results, **measured})
    text = (run_dir / 'run.yaml').read_text()
    (run_dir / 'run.yaml').write_text(text.replace('\ncompare:\n', CLASSIFIER.replace('TRAIN', TRAIN)))
    found = compare.comparison(*compare.load_summaries(run_dir))
    assert [row.metrics.get('accuracy') for row in found.rows][:2] == [None, 0.9]
    assert '| accuracy | – | 0.900 | – | – |' in compare.markdown(found)
    assert '| validation_loss | – | 0.250 | – | – |' in compare.markdown(found)


def test_store_used_twice_counts_once(finished_run):
    job = (finished_run / 'stages/detector_1/job.json').read_text()
    (finished_run / 'stages/rpn_2/job.json').write_text(job)
    four_step = compare.comparison(*compare.load_summaries(finished_run)).rows[0]
    assert four_step.seconds == 15.5


def test_unfinished_variants_are_named_and_not_in_the_table(make_run):
    found = compare.comparison(*compare.load_summaries(make_run({'rpn_1': {}, 'detector_1': {}})))
    assert [row.name for row in found.rows] == ['unshared']
    assert found.unfinished == {'four_step': ('rpn_2',), 'end_to_end': ('end_to_end.joint',)}
    assert 'end_to_end is not in the table: not finished: end_to_end.joint' in compare.markdown(found)


def with_ap(results, ap):
    return {**results, 'rpn_2': {'metrics': {**results['rpn_2']['metrics'], 'AP': ap}}}


def test_seeds_give_mean_and_standard_deviation(make_run, all_results):
    runs = [make_run(with_ap(all_results, ap), name=f'seed{seed}', seed=seed) for seed, ap in enumerate((0.46, 0.47, 0.48))]
    found = compare.compare_runs(compare.load_summaries(*runs))
    row = found.rows[0]
    assert (row.name, row.seeds) == ('four_step', 3)
    assert row.metrics['AP'] == pytest.approx(0.47)
    assert row.deviations['AP'] == pytest.approx(0.01)
    assert row.metrics['AP75'] is None
    assert compare.lines(found)[0].cells[0] == '0.470 ± 0.010'
    assert row.to_json()['standard_deviation']['AP'] == pytest.approx(0.01)


def test_runs_that_differ_in_more_than_the_seed_stay_apart(make_run, all_results):
    runs = [make_run(all_results, name='a'), make_run(with_ap(all_results, 0.3), name='b', seed=1)]
    text = (runs[1] / 'run.yaml').read_text()
    (runs[1] / 'run.yaml').write_text(text.replace('steps: 10', 'steps: 11'))
    names = [row.name for row in compare.compare_runs(compare.load_summaries(*runs)).rows]
    assert names == ['a/four_step', 'a/end_to_end', 'a/unshared', 'b/four_step', 'b/end_to_end', 'b/unshared']


def test_the_same_seed_twice_is_not_two_seeds(make_run, all_results):
    summaries = compare.load_summaries(make_run(all_results, name='a'), make_run(all_results, name='b'))
    assert not compare.are_seeds(summaries)


def test_runs_of_one_folder_name_are_told_by_their_paths(make_run, tmp_path, all_results):
    (tmp_path / 'x').mkdir()
    runs = [make_run(all_results, name='run'), make_run(all_results, name='x/run')]
    names = [row.name for row in compare.compare_runs(compare.load_summaries(*runs)).rows]
    assert names[0] == f'{runs[0]}/four_step'
    assert len(set(names)) == 6


def test_best_metrics_are_marked_and_costs_are_not(finished_run):
    lines = {line.label: line for line in compare.lines(compare.comparison(*compare.load_summaries(finished_run)))}
    assert (lines['AP'].cells, lines['AP'].best) == (('0.500', '0.450', '0.400'), {0})
    assert (lines['AP75'].cells, lines['AP75'].best) == (('–', '0.350', '0.300'), {1})
    assert (lines['steps'].cells, lines['steps'].best) == (('30', '20', '20'), frozenset())
    assert lines['  proposals'].cells == ('2.0', '0.0', '2.0')
    assert lines['trained parameters'].cells == ('4,000', '1,000', '3,000')


def test_table_fits_a_terminal_of_80_columns(finished_run):
    console = rich.console.Console(file=io.StringIO(), width=80)
    console.print(compare.table(compare.comparison(*compare.load_summaries(finished_run))))
    text = console.file.getvalue()
    assert text.splitlines()[1].split() == ['four_step', 'end_to_end', 'unshared']
    assert '…' not in text
    assert max(map(len, text.splitlines())) <= 80


def test_markdown_is_a_table(finished_run):
    text = compare.markdown(compare.comparison(*compare.load_summaries(finished_run)))
    assert text.splitlines()[:3] == [
        '|  | four_step | end_to_end | unshared |',
        '| --- | ---: | ---: | ---: |',
        '| AP | **0.500** | 0.450 | 0.400 |',
    ]
    assert '| – training | 12.0 | 4.0 | 8.0 |' in text


def test_report_is_written(finished_run):
    page = compare.write_report(finished_run, compare.load_summaries(finished_run))
    assert page == finished_run / 'report' / 'index.html'
    assert sorted(path.name for path in page.parent.iterdir()) == ['compare.json', 'compare.md', 'compare.png', 'index.html']
    content = json.loads((page.parent / 'compare.json').read_text())
    assert content['unfinished'] == {}
    assert content['variants']['end_to_end'] == {
        'AP': 0.45,
        'AP50': 0.9,
        'AP75': 0.35,
        'AR100': 0.55,
        'recall_0.5': 0.97,
        'steps': 20,
        'images': 40,
        'seconds': 5.0,
        'seconds_by_part': {'training': 4.0, 'evaluation': 1.0},
        'trained_parameters': 1000,
        'stages': ['end_to_end.joint'],
    }


def test_report_of_nothing_finished_is_written(make_run):
    run_dir = make_run({})
    compare.write_report(run_dir, compare.load_summaries(run_dir))
    assert json.loads((run_dir / 'report/compare.json').read_text())['variants'] == {}
