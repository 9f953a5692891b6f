"""Makes the synthetic data set; says so when it is there already.

python scripts/make_synthetic.py demo/data --num_train=400 --num_validation=80 --image_size=128 --seed=0
"""

from __future__ import annotations

import argparse
import pathlib
import sys

from stagetrain.data import synthetic
from stagetrain.errors import StagetrainError


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description='Makes a detection data set of shapes in VOC layout.', allow_abbrev=False)
    parser.add_argument('folder', type=pathlib.Path)
    parser.add_argument('--num_train', type=int, default=400)
    parser.add_argument('--num_validation', type=int, default=80)
    parser.add_argument('--image_size', type=int, default=128)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--masks', action='store_true', help='write the outlines of all objects, too: instances_*.json')
    given = parser.parse_args()
    try:
        made = synthetic.make(given.folder, given.num_train, given.num_validation, given.image_size, given.seed)
        if given.masks:
            synthetic.make_masks(given.folder)
    except StagetrainError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f'{given.folder}: {given.num_train} + {given.num_validation} images {"made" if made else "are there already"}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
