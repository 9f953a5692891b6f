"""Anchors of the Object Detection API as those of the networks here."""

from __future__ import annotations

import math

from stagetrain.bridges.tfod.account import Block, Kind
from stagetrain.bridges.tfod.draft import Draft
from stagetrain.errors import ConfigError

BASE = 256
FINEST = 8
"""Anchors of a pyramid's level have about this many strides, as in Faster R-CNN with FPN (Lin et al. 2017, section 4.1)."""
USUAL_RATIOS = [0.5, 1.0, 2.0]
_SIZES = 'model.anchor.sizes'
_RATIOS = 'model.anchor.aspect_ratios'


def grid(draft: Draft, generator: Block) -> None:
    """Sets `model.anchor` of a network of one level: sizes in pixels, and width over height."""
    sizes, ratios, _ = _grid_sizes(generator, _SIZES)
    draft.put(_SIZES, sizes)
    draft.put(_RATIOS, ratios)


def pyramid(draft: Draft, generator: Block) -> tuple[int, int]:
    """Sets `model.anchor` of a pyramid and returns its least and greatest level.

    A grid's sizes become one of each level: 64, 128, 256, 512 pixels lie on levels 3 to 6.
    """
    if generator.choice() == 'multiscale_anchor_generator':
        multiscale = generator.chosen()
        generator.account.take(multiscale.path, 'model.anchor')
        draft.copy(multiscale, 'anchor_scale', 'model.anchor.anchor_size')
        draft.copy(multiscale, 'scales_per_octave', 'model.anchor.num_scales')
        draft.put(_RATIOS, multiscale.take('aspect_ratios', _RATIOS) or [1.0])
        return multiscale.take('min_level', 'model.min_level'), multiscale.take('max_level', 'model.max_level')
    if generator.choice() not in ('', 'grid_anchor_generator'):
        generator.account.remark(generator.path, f'{generator.choice()}: the usual anchors of the network are used')
        return 3, 7
    sizes, ratios, block = _grid_sizes(generator, 'model.anchor.anchor_size')
    if not sizes[0] > 0:
        raise ConfigError(f'{block.account.parsed.place(block.at("scales"))}: found 0 or less; expected numbers above 0')
    least = min(max(round(math.log2(sizes[0] / FINEST)), 2), 5)
    levels = round(math.log2(sizes[-1] / sizes[0])) + 1
    greatest = min(least + levels - 1, 7)
    draft.put('model.anchor.anchor_size', sizes[0] / 2**least)
    draft.put(_RATIOS, ratios)
    laid = [sizes[0] * 2**number for number in range(greatest - least + 1)]
    draft.notes['model.anchor.anchor_size'] = (
        f'sizes of {", ".join(f"{size:g}" for size in laid)} pixels on levels {least} to {greatest}'
    )
    if laid != sizes:
        block.account.remark(block.path, f'anchors of {laid} pixels stand for those of {sizes}: each level has twice the size')
    return least, greatest


def compare_levels(generator: Block, levels: tuple[int, int]) -> None:
    """Says that the levels of a pyramid count, where the file has others for its anchors."""
    multiscale = generator.block('multiscale_anchor_generator')
    for name, level in zip(('min_level', 'max_level'), levels, strict=True):
        if multiscale.take(name) == level:
            multiscale.say(name, f'is that of the pyramid, {level}', Kind.MEANINGLESS)
        elif generator.choice() == 'multiscale_anchor_generator':
            multiscale.say(name, f'anchors lie on the levels of the pyramid, {levels[0]} to {levels[1]}')
            multiscale.remark(name, f'anchors lie on the levels of the pyramid, {levels[0]} to {levels[1]}')


def _grid_sizes(generator: Block, target: str) -> tuple[list[float], list[float], Block]:
    """Returns sizes in ascending order, aspect ratios, and the block that they are from."""
    block = generator.block('grid_anchor_generator')
    if generator.choice() not in ('', 'grid_anchor_generator'):
        generator.account.remark(generator.path, f'{generator.choice()}: the usual anchors of the network are used')
        return [BASE / 2, BASE, BASE * 2], USUAL_RATIOS, generator
    height, width = block.positive('height', target), block.positive('width', target)
    scales = block.take('scales', target) or [0.5, 1.0, 2.0]
    ratios = block.take('aspect_ratios', _RATIOS) or USUAL_RATIOS
    base, stretch = math.sqrt(height * width), width / height
    return sorted(float(f'{scale * base:.6g}') for scale in scales), [float(f'{ratio * stretch:.6g}') for ratio in ratios], block
