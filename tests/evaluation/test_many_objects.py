"""AP and AR at more than 100 detections of an image, beside COCO's, which stay as they are."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval

from stagetrain.config import metric_names
from stagetrain.evaluation import metrics
from stagetrain.evaluation.metrics import Detections


def grid(number):
    """Returns so many boxes of 10 x 10 pixels that do not touch."""
    return [[20 * (index // 30), 20 * (index % 30), 20 * (index // 30) + 10, 20 * (index % 30) + 10] for index in range(number)]


def found(boxes, classes=None):
    scores = np.linspace(1.0, 0.5, len(boxes), dtype=np.float32)
    classes = np.ones(len(boxes), np.int32) if classes is None else np.array(classes, np.int32)
    return Detections(np.zeros(len(boxes), np.int32), np.array(boxes, np.float32), scores, classes)


def test_all_objects_are_found_at_that_number_and_two_thirds_at_100(make_dataset):
    dataset = make_dataset([grid(150)], [[1] * 150])
    result = metrics.detection_metrics(dataset, found(grid(150)), max_detections=150)
    assert result['AR100'] == pytest.approx(2 / 3) and result['AP'] == pytest.approx(2 / 3, abs=0.01)
    assert [result[name] for name in ('AP@150', 'AP50@150', 'AP75@150', 'AR150', 'AP@150/cell')] == pytest.approx([1.0] * 5)
    assert result['AP@150/plate'] is None


def test_coco_s_own_metrics_do_not_move(make_dataset):
    rng = np.random.default_rng(0)
    dataset = make_dataset([grid(180)], [[1] * 160 + [2] * 20])
    loose = np.maximum(np.array(grid(240)) + rng.integers(-3, 4, (240, 4)), 0)
    loose[:, 2:] = np.maximum(loose[:, 2:], loose[:, :2] + 1)
    detections = found(loose, [1] * 160 + [2] * 80)
    usual = metrics.detection_metrics(dataset, detections)
    lifted = metrics.detection_metrics(dataset, detections, max_detections=200)
    assert {name: lifted[name] for name in usual} == usual
    assert set(lifted) - set(usual) == {*metric_names.at(200), 'AP@200/cell', 'AP@200/plate'}
    assert lifted['AR200'] > usual['AR100']


def test_what_is_measured_at_that_number_is_pycocotools_own(make_dataset):
    rng = np.random.default_rng(1)
    dataset = make_dataset([grid(200)], [[1] * 200], names=('cell',))
    loose = np.array(grid(200)) + rng.integers(0, 4, (200, 4))
    detections = found(loose)
    result = metrics.detection_metrics(dataset, detections, max_detections=180)
    truth = metrics._coco(dataset, metrics._truth_annotations(dataset))
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCOeval(truth, metrics._coco(dataset, metrics._annotations(dataset, detections)), 'bbox')
        theirs.params.maxDets = [1, 10, 180]
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    precision = theirs.eval['precision'][..., 0, 2]
    assert result['AP@180'] == pytest.approx(precision[precision > -1].mean(), abs=1e-12)
    assert [result[name] for name in ('AP50@180', 'AP75@180', 'AR180')] == pytest.approx(theirs.stats[[1, 2, 8]], abs=1e-12)


def test_a_comparison_has_a_line_for_it(make_run, all_results):
    from stagetrain.evaluation import compare
    from stagetrain.evaluation.summary import load_summaries

    run_dir = make_run(
        {stage: {**result, 'metrics': {**result['metrics'], 'AP@300': 0.6}} for stage, result in all_results.items()}
    )
    (run_dir / 'run.yaml').write_text((run_dir / 'run.yaml').read_text() + 'evaluation: {max_detections: 300}\n')
    text = compare.markdown(compare.compare_runs(load_summaries(run_dir)))
    assert '| AP@300 | 0.600 | 0.600 | 0.600 |' in text
