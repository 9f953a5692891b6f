"""The fine-tuning checkpoint of a `pipeline.config`, as a source and what starts from it."""

from __future__ import annotations

from stagetrain.bridges.tfod import inputs
from stagetrain.bridges.tfod.account import Block, Kind
from stagetrain.bridges.tfod.draft import Draft
from stagetrain.bridges.tfod.extractors import Extractor

NAME = 'fine_tune'
"""What the checkpoint is called in `sources`."""
_TYPES = {'': None, 'classification': 'classification', 'detection': 'detection', 'fine_tune': 'detection', 'full': 'full'}
LEAST_SHARE = 0.8
"""Of a module's variables that the checkpoint must have: of a convolution and its BatchNorm five in six."""


def translate(draft: Draft, block: Block, extractor: Extractor) -> bool:
    """Sets `sources` and what stages start from; returns whether the network starts from a checkpoint at all.

    Args:
      draft: what is set.
      block: `train_config`.
      extractor: of the network.
    """
    path = block.take('fine_tune_checkpoint', f'sources.{NAME}')
    if not path:
        block.account.remark(block.at('fine_tune_checkpoint'), 'the file has none: all starts fresh')
        draft.init = []
        return False
    kind = _kind(block)
    if extractor.is_substitute:
        text = f'holds weights of another network than {extractor.backbone}, so nothing starts from it; name a source of your own'
        block.say('fine_tune_checkpoint', text)
        block.remark('fine_tune_checkpoint', text)
        draft.init = []
        return False
    is_object_based = block.take('fine_tune_checkpoint_version', f'sources.{NAME}') == 'V2'
    target = f'sources.{NAME}.{"checkpoint" if is_object_based else "tf1_checkpoint"}'
    draft.put(target, inputs.resolved(draft, block, 'fine_tune_checkpoint', path, target, '/path/to/model.ckpt', '.index')[0])
    if not is_object_based:
        draft.put(f'sources.{NAME}.rules', rules(extractor, has_head='roi_head' in draft.init))
        draft.put(f'sources.{NAME}.require', LEAST_SHARE, 'convolutions have a bias here that the API has not')
    else:
        text = 'is matched by object paths; before the first step stagetrain run lists what does not fit'
        block.remark('fine_tune_checkpoint', text)
    if kind == 'full':
        block.say('fine_tune_checkpoint_type', 'full: RPN and predictors start fresh, for their outputs are coded otherwise')
        block.remark('fine_tune_checkpoint_type', 'full: RPN and predictors start fresh, for their outputs are coded otherwise')
    return True


def _kind(block: Block) -> str:
    """Returns what of the checkpoint the API would load: classification, detection or full."""
    given = block.take('fine_tune_checkpoint_type')
    if not given:
        _same(block, 'from_detection_checkpoint')
        return 'detection' if block.take('from_detection_checkpoint') else 'classification'
    found = _TYPES.get(given)
    if found is None:
        block.remark('fine_tune_checkpoint_type', f"'{given}' is not known; the backbone is loaded")
        block.say('fine_tune_checkpoint_type', 'is not known; the backbone is loaded')
    elif found != 'full':
        _same(block, 'fine_tune_checkpoint_type')
    return found or 'classification'


def _same(block: Block, name: str) -> None:
    text = 'a classifier and a detector start the same modules, whose names are told apart by the rules of the source'
    block.say(name, text, Kind.MEANINGLESS)


def rules(extractor: Extractor, *, has_head: bool) -> dict[str, str]:
    """Returns how names of slim's ResNet become canonical ones; of a Faster R-CNN, whose block4 belongs to the second stage.

    Args:
      extractor: a ResNet.
      has_head: whether block4 is the head of RoIs.
    """
    scope = rf'(?:FirstStageFeatureExtractor/|FeatureExtractor/)?{extractor.slim}'
    last = rf'(?:SecondStageFeatureExtractor/)?{extractor.slim}' if has_head else scope
    found = {
        f'{scope}/conv1/weights': 'backbone/conv1_conv/kernel',
        rf'{scope}/conv1/BatchNorm/(\w+)': r'backbone/conv1_bn/\1',
    }
    for number in range(1, 5):
        module = 'roi_head' if has_head and number == 4 else 'backbone'
        unit = rf'{last if number == 4 else scope}/block{number}/unit_(\d+)/bottleneck_v1'
        target = rf'{module}/conv{number + 1}_block\1'
        found[f'{unit}/shortcut/weights'] = f'{target}_0_conv/kernel'
        found[rf'{unit}/shortcut/BatchNorm/(\w+)'] = rf'{target}_0_bn/\2'
        found[rf'{unit}/conv(\d)/weights'] = rf'{target}_\2_conv/kernel'
        found[rf'{unit}/conv(\d)/BatchNorm/(\w+)'] = rf'{target}_\2_bn/\3'
    return found
