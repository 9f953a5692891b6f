"""The names of metrics, as they stand in `evaluation.json`, told before anything is measured.

of_detections(['cat'], voc_ap=False)        # ('AP', 'AP50', ..., 'AP/cat')
canonical('proposal_recall_0.5')            # 'recall_0.5'
"""

from __future__ import annotations

import re
from collections.abc import Sequence

COCO_METRICS = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'AR1', 'AR10', 'AR100', 'ARs', 'ARm', 'ARl')
"""In the order of pycocotools' `stats`; s, m and l are objects below 32^2, below 96^2 and from 96^2 pixels on."""
RECALL = 'recall_0.5'
"""Of the largest number of proposals that is measured."""
HEADLINE = ('AP', 'AP50', 'AP75', RECALL)
"""What is shown while a stage runs."""
BRIEF = ('AP', 'AP50', RECALL)
"""What is shown of a stage where there is little room."""
COMPARED = ('AP', 'AP50', 'AP75', 'AR100')
"""What variants are compared by, besides recall."""
MASK_PREFIX = 'mask_'
VOC_METRICS = ('VOC_AP', 'VOC_AP11')
ALL = 'all'
"""The group of metrics that are measured on all objects."""
_PROPOSAL_PREFIX = 'proposal_'
_SIZES = {'s': 'small', 'm': 'medium', 'l': 'large'}
_OF_A_SIZE = re.compile(r'A[PR]([sml])')


def of_detections(classes: Sequence[str], voc_ap: bool, max_detections: int | None = None) -> tuple[str, ...]:
    """Returns the metrics of detections: COCO's, Pascal VOC's when asked for, and those of each class.

    Args:
      classes: their names.
      voc_ap: whether Pascal VOC's are measured.
      max_detections: the number of detections an image at which COCO's are measured too; None: at 100 alone.
    """
    voc = VOC_METRICS if voc_ap else ()
    names = (*COCO_METRICS, *voc, *(f'{metric}/{name}' for metric in ('AP', *voc) for name in classes))
    return (
        names if max_detections is None else (*names, *at(max_detections), *(f'AP@{max_detections}/{name}' for name in classes))
    )


def at(max_detections: int) -> tuple[str, ...]:
    """Returns the names of AP, AP50, AP75 and AR at another number of detections an image than COCO's 100."""
    return (*(f'{metric}@{max_detections}' for metric in ('AP', 'AP50', 'AP75')), f'AR{max_detections}')


def of_masks(classes: Sequence[str], max_detections: int | None = None) -> tuple[str, ...]:
    """Returns the metrics of detections by the overlap of their masks."""
    return tuple(f'{MASK_PREFIX}{name}' for name in of_detections(classes, voc_ap=False, max_detections=max_detections))


def of_proposals(counts: Sequence[int]) -> tuple[str, ...]:
    """Returns the metrics of proposals at each of `counts` proposals an image, and at the largest."""
    return (*(f'{metric}@{count}' for count in counts for metric in (RECALL, 'AR')), RECALL)


def canonical(name: str) -> str:
    """Returns a metric's name in `evaluation.json`; `proposal_` may stand in front of those of proposals."""
    short = name.removeprefix(_PROPOSAL_PREFIX)
    return short if short.startswith(('recall_', 'AR@')) else name


def class_of(name: str) -> str | None:
    """Returns the class that a metric (`AP/cat`) is measured on; None for one of all classes."""
    return name.partition('/')[2] or None


def group(name: str) -> str:
    """Returns which objects a metric is measured on: `/cat` of a class, `small`, `medium` or `large` boxes, or `ALL`.

    Of a group without objects nothing can be measured. The size of masks is not known by their boxes: `mask_APs` is in `ALL`.
    """
    class_name, size = class_of(name), _OF_A_SIZE.fullmatch(name)
    return f'/{class_name}' if class_name else _SIZES[size[1]] if size else ALL
