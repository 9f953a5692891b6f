"""`train_config` of the Object Detection API, as `train` and `model.parser`."""

from __future__ import annotations

import math
from typing import Any

from stagetrain.bridges.tfod.account import Block, plain
from stagetrain.bridges.tfod.draft import Draft
from stagetrain.config.schema import MAX_STEPS

USUAL_STEPS = 200_000
"""Steps where a file has none and trains for ever: the number in most samples of the API."""
_RATE = 'train.learning_rate'
_WARMUP = 'train.warmup.linear'
_SCALES = ('model.parser.aug_scale_min', 'model.parser.aug_scale_max')
_JITTER = 'model.parser.color_jitter'


def translate(draft: Draft, block: Block, freeze_rule: str) -> None:
    """Sets `train` and what `model.parser` says of augmentation.

    Args:
      draft: what is set.
      block: `train_config`.
      freeze_rule: the trainer that is meant decides how gradients are clipped.
    """
    steps = _steps(draft, block)
    draft.copy(block, 'batch_size', 'train.batch_size')
    _optimizer(draft, block, steps, freeze_rule)
    _averages(draft, block.block('optimizer'))
    draft.copy(block, 'max_number_of_boxes', 'model.parser.max_num_instances', change=lambda number: number or 100)
    factor = block.take('bias_grad_multiplier', 'train.learning_rate_multipliers')
    if factor > 0:
        draft.put('train.learning_rate_multipliers', {'.*/bias': factor})
    _augmentation(draft, block)


def _steps(draft: Draft, block: Block) -> int:
    steps = block.take('num_steps', 'train.steps')
    if not steps:
        text = f'no num_steps: the API trains for ever, {USUAL_STEPS} steps are taken'
        block.remark('num_steps', f'{text}; choose with the --set line below')
        draft.put('train.steps', USUAL_STEPS, text)
        draft.set_lines.append(f'--set train.steps={USUAL_STEPS}')
        return USUAL_STEPS
    draft.put('train.steps', min(int(steps), MAX_STEPS))
    if steps > MAX_STEPS:
        block.say('num_steps', f'{MAX_STEPS} steps are the most here')
        block.remark('num_steps', f'{MAX_STEPS} steps are the most here')
    return min(int(steps), MAX_STEPS)


# ---- optimizer and schedule -------------------------------------------------------------------------------------------------


def _optimizer(draft: Draft, block: Block, steps: int, freeze_rule: str) -> None:
    optimizer = block.block('optimizer')
    kind = optimizer.choice()
    chosen = optimizer.chosen() if kind else optimizer.block('momentum_optimizer')
    name = {'adam_optimizer': 'adam_experimental', 'rms_prop_optimizer': 'rmsprop'}.get(kind, 'sgd')
    target = f'train.optimizer.{name}'
    draft.put('train.optimizer.type', name)
    if name == 'sgd':
        draft.copy(chosen, 'momentum_optimizer_value', f'{target}.momentum')
    elif name == 'rmsprop':
        draft.copy(chosen, 'decay', f'{target}.rho')
        draft.copy(chosen, 'momentum_optimizer_value', f'{target}.momentum')
        draft.copy(chosen, 'epsilon', f'{target}.epsilon')
    else:
        draft.copy(chosen, 'epsilon', f'{target}.epsilon')
    draft.account.take(chosen.path, target)
    if not kind:
        draft.account.remark(optimizer.path, "no optimizer in the file; SGD with momentum is taken, with the API's defaults")
    _clipping(draft, block, target, freeze_rule)
    _schedule(draft, chosen.block('learning_rate'), steps)


def _clipping(draft: Draft, block: Block, target: str, freeze_rule: str) -> None:
    norm = block.take('gradient_clipping_by_norm', 'train.optimizer')
    if norm > 0 and freeze_rule == 'train':
        draft.put(f'{target}.clipnorm', norm, 'legacy/train.py clips the gradient of each variable by itself')
    elif norm > 0:
        draft.put(f'{target}.global_clipnorm', norm)


def _schedule(draft: Draft, block: Block, steps: int) -> None:
    kind = block.choice()
    if kind:
        draft.account.take(block.at(kind), _RATE)
    if kind == 'manual_step_learning_rate':
        _manual_steps(draft, block.chosen(), steps)
    elif kind == 'cosine_decay_learning_rate':
        _cosine(draft, block.chosen(), steps)
    elif kind == 'exponential_decay_learning_rate':
        _exponential(draft, block.chosen(), steps)
    else:
        draft.put(f'{_RATE}.type', 'constant')
        constant = block.block('constant_learning_rate')
        draft.copy(constant, 'learning_rate', f'{_RATE}.constant.learning_rate')
        if not kind:
            block.account.remark(block.path, "no schedule in the file; the API's constant rate of 0.002 is taken")


def _manual_steps(draft: Draft, block: Block, steps: int) -> None:
    values = [block.take('initial_learning_rate', f'{_RATE}.stepwise.values')]
    boundaries: list[int] = []
    for entry in block.blocks('schedule'):
        step = entry.take('step', f'{_RATE}.stepwise.boundaries')
        rate = entry.take('learning_rate', f'{_RATE}.stepwise.values')
        if step == 0:
            entry.remark('step', f'0: newer versions of the API refuse it; {rate:g} is the rate from the beginning')
            values[-1] = rate
            block.say('initial_learning_rate', f'gives way to the rate of step 0, {rate:g}')
        elif boundaries and step <= boundaries[-1]:
            _unused(entry, f'{step} does not lie behind {boundaries[-1]}, the step before: the API refuses this; it is left out')
        elif step >= steps:
            _unused(entry, f'{step} lies behind the last of {steps} steps, so its rate {rate:g} is never used; it is left out')
        else:
            if step == 1:
                entry.say('step', '1: its rate counts from step 2 on here, the first at which a rate can change')
            boundaries.append(step)
            values.append(rate)
    if block.take('warmup', _WARMUP) and boundaries:
        draft.put('train.warmup.type', 'linear')
        draft.put(_WARMUP, {'warmup_steps': boundaries.pop(0), 'warmup_learning_rate': values.pop(0)})
    if boundaries:
        # Keras counts a rate from the step behind its boundary on, the API from the boundary on.
        moved = [boundary - 1 if boundary > 1 else boundary for boundary in boundaries]
        note = 'one less than in the file: a rate counts from the step behind its boundary on here'
        draft.put(f'{_RATE}.type', 'stepwise')
        draft.put(f'{_RATE}.stepwise', {'boundaries': moved, 'values': values})
        draft.notes[f'{_RATE}.stepwise'] = note
    else:
        draft.put(f'{_RATE}.type', 'constant')
        draft.put(f'{_RATE}.constant.learning_rate', values[0])


def _unused(entry: Block, text: str) -> None:
    for name in ('step', 'learning_rate'):
        entry.say(name, text)
    entry.remark('step', text)


def _cosine(draft: Draft, block: Block, steps: int) -> None:
    target = f'{_RATE}.cosine'
    base = block.take('learning_rate_base', f'{target}.initial_learning_rate')
    total = block.take('total_steps', f'{target}.decay_steps')
    warmup = block.take('warmup_steps', f'{_WARMUP}.warmup_steps')
    hold = block.take('hold_base_rate_steps', f'{target}.decay_steps', f'{target}.offset')
    decay = total - warmup - hold
    if decay < 1:
        text = f'{total} is less than warmup_steps and hold_base_rate_steps, {warmup + hold}: the API refuses this'
        block.say('total_steps', text)
        block.remark('total_steps', text)
        decay = 1
    draft.put(f'{_RATE}.type', 'cosine')
    draft.put(target, {'initial_learning_rate': base, 'decay_steps': decay, 'offset': warmup + hold})
    if hold:
        block.remark('hold_base_rate_steps', 'the rate rises by the same cosine to its base here, where the API holds it')
    _warmup(draft, block, 'warmup', warmup, base, steps)


def _warmup(draft: Draft, block: Block, name: str, warmup: int, base: float, steps: int) -> None:
    """Sets a linear warm-up of the steps and from the rate that a block's two fields have."""
    if not warmup:
        return
    start = block.take(f'{name}_learning_rate', f'{_WARMUP}.warmup_learning_rate')
    draft.put('train.warmup.type', 'linear')
    if warmup > steps:
        block.say(f'{name}_steps', f'{warmup} lie behind the last of {steps} steps: the rate never reaches its base')
        block.remark(f'{name}_steps', f'{warmup} lie behind the last of {steps} steps; the warm-up ends with the stage')
        warmup = steps
    draft.put(_WARMUP, {'warmup_steps': warmup, 'warmup_learning_rate': start})


def _exponential(draft: Draft, block: Block, steps: int) -> None:
    target = f'{_RATE}.exponential'
    draft.put(f'{_RATE}.type', 'exponential')
    base = draft.copy(block, 'initial_learning_rate', f'{target}.initial_learning_rate')
    draft.copy(block, 'decay_steps', f'{target}.decay_steps', change=lambda number: max(number, 1))
    draft.copy(block, 'decay_factor', f'{target}.decay_rate')
    draft.copy(block, 'staircase', f'{target}.staircase')
    burnin = block.take('burnin_steps', f'{_WARMUP}.warmup_steps')
    if burnin:
        draft.put(f'{target}.offset', burnin)
        block.remark('burnin_steps', 'the rate rises linearly to its base here, where the API keeps burnin_learning_rate')
        _warmup(draft, block, 'burnin', burnin, base, steps)


def _averages(draft: Draft, block: Block) -> None:
    if not block.take('use_moving_average', 'train.ema'):
        return
    decay = block.take('moving_average_decay', 'train.ema.average_decay')
    note = ''
    if not block.has('use_moving_average'):
        note = 'use_moving_average is not in the file: the API averages unless it is told not to'
        block.remark('use_moving_average', 'is not in the file, and is true then: train.ema is set')
    draft.put('train.ema.average_decay', min(decay, math.nextafter(1, 0)), note)


# ---- augmentation -----------------------------------------------------------------------------------------------------------


def _augmentation(draft: Draft, block: Block) -> None:
    for step in block.blocks('data_augmentation_options'):
        kind = step.choice()
        if not kind:
            continue
        carry_out = _STEPS.get(kind)
        if carry_out is None:
            continue
        draft.account.take(step.at(kind), 'model.parser')
        carry_out(draft, step.chosen())


def _flip(target: str) -> Any:
    def carry_out(draft: Draft, block: Block) -> None:
        draft.account.take(block.path, target)
        draft.put(target, True)

    return carry_out


def _scale(draft: Draft, block: Block) -> None:
    _widen(draft, block.take('min_scale_ratio', _SCALES[0]), block.take('max_scale_ratio', _SCALES[1]))


def _square_crop(draft: Draft, block: Block) -> None:
    """A crop of 0.6 of the image shows it larger, by 1 / 0.6."""
    largest, smallest = block.take('scale_min', _SCALES[1]), block.take('scale_max', _SCALES[0])
    _widen(draft, 1 / max(smallest, 0.1), 1 / max(largest, 0.1))
    block.account.remark(block.path, 'crops are drawn by aug_scale_min and aug_scale_max, which come near')


def _scale_crop_pad(draft: Draft, block: Block) -> None:
    _widen(draft, block.take('scale_min', _SCALES[0]), block.take('scale_max', _SCALES[1]))


def _crop(draft: Draft, block: Block) -> None:
    least = block.take('min_area', _SCALES[1])
    _widen(draft, 1.0, 1 / math.sqrt(min(max(least, 0.01), 1.0)))
    block.account.remark(block.path, f'crops are drawn by aug_scale_max, down to min_area {least:g}, with the aspect ratio kept')


def _widen(draft: Draft, least: float, greatest: float) -> None:
    """Makes scales range at least from `least` to `greatest`."""
    parser = draft.document.setdefault('model', {}).setdefault('parser', {})
    draft.put(_SCALES[0], float(f'{min(least, greatest, parser.get("aug_scale_min", 1.0)):.4g}'))
    draft.put(_SCALES[1], float(f'{max(least, greatest, parser.get("aug_scale_max", 1.0)):.4g}'))


def _brightness(draft: Draft, block: Block) -> None:
    _jitter(draft, block, block.take('max_delta', _JITTER))


def _contrast(draft: Draft, block: Block) -> None:
    least, greatest = block.take('min_delta', _JITTER), block.take('max_delta', _JITTER)
    _jitter(draft, block, max(1 - least, greatest - 1))


def _distort(draft: Draft, block: Block) -> None:
    _jitter(draft, block, 0.5)  # The API's factors of contrast and saturation: 0.5 to 1.5.


def _jitter(draft: Draft, block: Block, strength: float) -> None:
    """One strength stands for brightness, contrast and saturation: the greatest of the file."""
    former = draft.document.get('model', {}).get('parser', {}).get('color_jitter', 0.0)
    if strength < former:
        for name in ('min_delta', 'max_delta'):
            if name in block.message.DESCRIPTOR.fields_by_name:
                block.say(name, f'{_JITTER} has one strength, and {former:g} of another step is taken')
    draft.account.take(block.path, _JITTER)
    draft.put(_JITTER, plain(max(strength, former, 0.0)), 'one strength for brightness, contrast and saturation')


def _autoaugment(draft: Draft, block: Block) -> None:
    name = block.take('policy_name', 'model.parser.aug_type.autoaug.augmentation_name')
    if draft.document['model']['type'] == 'mask_rcnn':
        block.account.remark(block.path, 'masks do not follow the operations that move an image; it is left out')
        return
    draft.put('model.parser.aug_type', {'type': 'autoaug', 'autoaug': {'augmentation_name': 'detection_v0'}})
    if name not in ('v0', 'detection_v0'):
        text = f"'{name}': the table detection_v0 is taken"
        block.account.remark(block.path, text)
        block.say('policy_name', text)


_STEPS = {
    'random_horizontal_flip': _flip('model.parser.aug_rand_hflip'),
    'random_vertical_flip': _flip('model.parser.aug_rand_vflip'),
    'random_image_scale': _scale,
    'random_square_crop_by_scale': _square_crop,
    'random_scale_crop_and_pad_to_square': _scale_crop_pad,
    'random_crop_image': _crop,
    'random_adjust_brightness': _brightness,
    'random_adjust_contrast': _contrast,
    'random_adjust_saturation': _contrast,
    'random_distort_color': _distort,
    'autoaugment_image': _autoaugment,
}
