"""What storing a stage's features would take, told before anything is built or written, and without TensorFlow.

The stage itself decides on the real model (`stores/features.py`). Here its config alone is read: a module counts as frozen when
the scopes cover all of it, and sizes are known for feature pyramids only; a cut inside the backbone is told for `freeze_up_to`.
"""

from __future__ import annotations

import itertools
import math

from stagetrain.config import augmentation, schema, scopes
from stagetrain.config.detector_options import DetectorOptions, Parser, of_detector
from stagetrain.config.model_garden.decoders import Decoder
from stagetrain.config.stages import model_of, spec_of, stage_modules

_BYTES = {'float32': 4, 'bfloat16': 2}


def frozen_modules(pipeline: schema.PipelineBase, stage: schema.Stage) -> tuple[str, ...]:
    """Returns the modules in front of the heads that a stage freezes as a whole, as far as its scopes tell."""
    held = stage_modules(pipeline, stage)
    front = [module for module in spec_of(pipeline, stage).front_modules if module in held]

    def rests(module: str) -> bool:
        return scopes.rests_as_a_whole(module, stage.freeze_variables, stage.train_variables)

    return tuple(itertools.takewhile(rests, front))


def describe(pipeline: schema.PipelineBase, stage: schema.Stage, num_images: int) -> str | None:
    """Returns a sentence about a stage's stored features, or None when nothing in front of its heads is known to be frozen."""
    frozen = frozen_modules(pipeline, stage)
    if not spec_of(pipeline, stage).reads_images or (not frozen and stage.freeze_up_to is None):
        return None
    if stage.features.store == 'off':
        return f'off: {" and ".join(frozen) or f"backbone up to {stage.freeze_up_to}"} computed at each step'
    model = of_detector(model_of(pipeline, stage))
    num_views = _num_views(model.parser, stage.features)
    if num_views is None:
        return 'off: scale jitter or augmentation makes views endless; features.views would make them finite'
    if not frozen:
        place = f'backbone up to {stage.freeze_up_to}'
        return f'{stage.features.store}: {place}; size, and whether storing pays, are known when the stage begins'
    total = _row_bytes(model, frozen, stage.features.dtype) * num_images * num_views
    views = f'output of {frozen[-1]} for {num_images:,} images x {num_views} views'
    if not total:
        return f'{stage.features.store}: {views}'
    if stage.features.store == 'auto' and total > stage.features.budget_gib * 2**30:
        return f'off: {views} would take {total / 2**30:.2f} GiB, more than features.budget_gib ({stage.features.budget_gib:g})'
    return f'{stage.features.store}: {views}, {total / 2**20:,.0f} MiB'


def _num_views(parser: Parser, features: schema.Features) -> int | None:
    if features.views is not None:
        return features.views
    if parser.aug_scale_min != 1.0 or parser.aug_scale_max != 1.0 or augmentation.augments(parser):
        return None
    return (1 + parser.aug_rand_hflip) * (1 + parser.aug_rand_vflip)


def _row_bytes(model: DetectorOptions, frozen: tuple[str, ...], dtype: str) -> int:
    """Returns the bytes of one view's features behind a feature pyramid; 0 where the model alone would tell."""
    decoder = getattr(model, 'decoder', None)
    if frozen[-1] != 'decoder' or not isinstance(decoder, Decoder) or decoder.type != 'fpn':
        return 0
    height, width = model.input_size[:2]
    cells = sum(
        math.ceil(height / 2**level) * math.ceil(width / 2**level) for level in range(model.min_level, model.max_level + 1)
    )
    return cells * decoder.fpn.num_filters * _BYTES[dtype]
