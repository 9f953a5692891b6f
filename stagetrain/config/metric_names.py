"""The names of metrics, as they stand in `evaluation.json`, told before anything is measured.

of_detections(['cat'], voc_ap=False)        # ('AP', 'AP50', ..., 'AP/cat')
canonical('proposal_recall_0.5')            # 'recall_0.5'
"""

from __future__ import annotations

from collections.abc import Sequence

COCO_METRICS = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR1', 'AR10', 'AR100', 'ARs', 'ARm', 'ARl')
"""In the order of pycocotools' `stats`; s, m and l are objects below 32^2, below 96^2 and from 96^2 pixels on."""
MASK_PREFIX = 'mask_'
VOC_METRICS = ('VOC_AP', 'VOC_AP11')
_PROPOSAL_PREFIX = 'proposal_'


def of_detections(classes: Sequence[str], voc_ap: bool) -> tuple[str, ...]:
    """Returns the metrics of detections: COCO's, Pascal VOC's when asked for, and those of each class."""
    voc = VOC_METRICS if voc_ap else ()
    return (*COCO_METRICS, *voc, *(f'{metric}/{name}' for metric in ('AP', *voc) for name in classes))


def of_masks(classes: Sequence[str]) -> tuple[str, ...]:
    """Returns the metrics of detections by the overlap of their masks."""
    return tuple(f'{MASK_PREFIX}{name}' for name in of_detections(classes, voc_ap=False))


def of_proposals(counts: Sequence[int]) -> tuple[str, ...]:
    """Returns the metrics of proposals at each of `counts` proposals an image, and at the largest."""
    return (*(f'{metric}@{count}' for count in counts for metric in ('recall_0.5', 'AR')), 'recall_0.5')


def canonical(name: str) -> str:
    """Returns a metric's name in `evaluation.json`; `proposal_` may stand in front of those of proposals."""
    short = name.removeprefix(_PROPOSAL_PREFIX)
    return short if short.startswith(('recall_', 'AR@')) else name
