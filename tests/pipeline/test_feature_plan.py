"""What `plan` says of stored features: where they are cut, and how large they get where the config alone tells."""

from __future__ import annotations

import pathlib

from stagetrain.config.load import load_pipeline
from stagetrain.pipeline import feature_plan

CONFIGS = pathlib.Path(__file__).parents[2] / 'configs'
ENVIRON = {'BCCD': '/data/bccd', 'WEIGHTS': '/data/weights'}


def described(name: str, *overrides: str) -> str | None:
    pipeline = load_pipeline(CONFIGS / name, overrides, ENVIRON).pipeline
    return feature_plan.describe(pipeline, pipeline.stages[-1], num_images=10)


def test_a_pyramids_size_is_told() -> None:
    # Levels 3 to 6 of 256x256 pixels, 64 channels of 4 bytes, 10 images mirrored or not: 1360 places.
    assert described('bccd/four_step.yaml') == 'auto: output of decoder for 10 images x 2 views, 7 MiB'


def test_a_decoder_that_is_no_pyramid_has_no_known_size() -> None:
    frozen = "stages.all.freeze_variables=['backbone/.*', 'decoder/.*']"
    assert described('bccd/centernet.yaml', frozen) == 'auto: output of decoder for 10 images x 4 views'


def test_nothing_is_said_of_a_stage_that_trains_all() -> None:
    assert described('bccd/centernet.yaml') is None


def test_a_cut_inside_the_backbone_is_told_without_its_size() -> None:
    last = 'stages.detector_2'
    found = described('bccd/four_step.yaml', f"{last}.freeze_variables=['rpn_head/.*']", f'{last}.freeze_up_to=conv_pw_5_relu')
    assert found == 'auto: backbone up to conv_pw_5_relu; size, and whether storing pays, are known when the stage begins'


def test_what_alone_is_trained_freezes_the_rest() -> None:
    last = 'stages.detector_2'
    found = described('bccd/four_step.yaml', f'{last}.freeze_variables=[]', f"{last}.train_variables=['detection_head/.*']")
    assert found == 'auto: output of decoder for 10 images x 2 views, 7 MiB'
