"""The page of a run."""

from __future__ import annotations

import re

from stagetrain.evaluation import compare, report
from stagetrain.evaluation.summary import load_summaries


def page_of(run_dir):
    return compare.write_report(run_dir, load_summaries(run_dir)).read_text()


def test_stage_views_tell_origin_losses_and_frozen_scopes(finished_run):
    views = {view.name: view for view in report.stage_views(*load_summaries(finished_run))}
    assert views['detector_1'] == report.StageView(
        name='detector_1',
        origins='backbone ← imagenet, decoder ← initialiser, detection_head ← initialiser',
        losses='frcnn_class × 1, frcnn_box × 1',
        artefacts={'proposals': 'of rpn_1'},
        trained=None,
        frozen=(),
        cost='10 steps, 40 images, 5.0 s (training 4.0 s, evaluation 1.0 s), 2,000 trained parameters',
        metrics='AP 0.400, AP50 0.800, AP75 0.300, AR100 0.500',
        versions='onednn on, tensorflow 2.20.0',
    )
    assert views['rpn_2'].frozen == ('backbone/.*', 'decoder/.*')
    assert views['rpn_2'].origins == 'backbone ← detector_1, decoder ← detector_1, rpn_head ← initialiser'


def test_page_shows_with_what_every_stage_was_computed(finished_run):
    assert page_of(finished_run).count('<dt>computed with</dt><dd>onednn on, tensorflow 2.20.0</dd>') == 4


def test_unfinished_stage_says_so(make_run):
    view = report.stage_views(*load_summaries(make_run({})))[0]
    assert (view.cost, view.metrics, view.versions) == ('not finished', '', '')


def test_page_shows_the_comparison_and_every_stage(finished_run):
    text = page_of(finished_run)
    assert re.findall(r'<h3>(.*)</h3>', text) == ['rpn_1', 'detector_1', 'rpn_2', 'end_to_end.joint']
    assert '<td class="best">0.500</td>' in text
    assert '<img src="compare.png"' in text
    assert 'detections.png' not in text


def test_page_escapes_what_it_shows(finished_run):
    text = page_of(finished_run)
    assert 'RBC, &lt;b&gt;' in text
    assert '<b>' not in text


def test_page_shows_detections_where_there_are_some(finished_run, with_images):
    with_images(finished_run, 'rpn_2')
    assert '<img src="detections.png"' in page_of(finished_run)


def test_page_without_images_says_why(finished_run):
    (finished_run / 'stages/rpn_2/detections.json').write_text('[]')
    text = page_of(finished_run)
    assert 'No picture of detections: ' in text
    assert 'detections.png' not in text


def test_page_loads_nothing_from_elsewhere(finished_run):
    assert re.findall(r'(?:src|href)="([^"]*)"', page_of(finished_run)) == ['compare.png']


def test_a_run_without_one_measured_metric_has_a_report(make_run, all_results):
    unmeasured = {stage: {**result, 'metrics': dict.fromkeys(result['metrics'])} for stage, result in all_results.items()}
    run_dir = make_run(unmeasured)
    text = page_of(run_dir)
    assert '>AP<' not in text and 'recall' not in text.partition('<h2>Stages')[0]
    assert (run_dir / 'report' / 'compare.png').stat().st_size > 1000
    assert '"AP":null' in (run_dir / 'report' / 'compare.json').read_text().replace(' ', '')
