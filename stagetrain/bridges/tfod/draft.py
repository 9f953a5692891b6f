"""A pipeline file in the making: its keys, remarks beside them, and what its stages have in common.

draft = Draft(account)
draft.copy(block, 'first_stage_box_predictor_depth', 'model.rpn_head.num_filters')
draft.document['model']          # {'rpn_head': {'num_filters': 512}}
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from stagetrain.bridges.tfod.account import Account, Block, Kind, plain
from stagetrain.errors import ConfigError


class Draft:
    """Gathers what translators say."""

    def __init__(self, account: Account):
        """Args: account: of the file that is translated."""
        self.account = account
        self.document: dict[str, Any] = {}
        self.notes: dict[str, str] = {}
        """Path of a key -> a remark to stand at it."""
        self.loss_weights: dict[str, float] = {}
        self.weight_notes: list[str] = []
        self.init: list[str] = []
        """Modules that start from `sources.fine_tune`."""
        self.rests: list[str] = []
        """Scopes of BatchNorm that the API does not train; they hold where weights are loaded."""
        self.rests_at = ''
        """The field that says so."""
        self.copies: list[tuple[str, str]] = []
        """Compressed records, and where they are written without compression, relative to the pipeline file."""
        self.set_lines: list[str] = []
        """`--set` options for what the file does not tell."""

    def put(self, target: str, value: Any, note: str = '') -> None:
        """Sets a key, `model.rpn_head.num_filters`, with a remark beside it."""
        *parents, name = target.split('.')
        block = self.document
        for parent in parents:
            block = block.setdefault(parent, {})
        block[name] = plain(value)
        if note:
            self.notes[target] = note

    def has(self, target: str) -> bool:
        """Returns whether a key is set."""
        block: Any = self.document
        for name in target.split('.'):
            if not isinstance(block, dict) or name not in block:
                return False
            block = block[name]
        return True

    def copy(self, block: Block, name: str, *targets: str, change: Callable[[Any], Any] = lambda value: value) -> Any:
        """Sets keys to a value of the file, or to the API's default, and returns it."""
        value = block.take(name, *targets)
        for target in targets:
            self.put(target, change(value))
        return value

    def weigh(self, block: Block, name: str, term: str, factor: float = 1.0, why: str = '') -> None:
        """Sets a loss weight to a value of the file, times a factor that `why` explains."""
        weight = block.take(name, f'loss_weights.{term}')
        if not 0 <= weight < math.inf:
            place = self.account.parsed.place(block.at(name))
            raise ConfigError(f'{place}: found {weight:g}; expected a finite number, 0 or more')
        self.loss_weights[term] = rounded(weight * factor)
        if why:
            self.weight_notes.append(f'{term}: {weight:g} in the file, times {factor:.4g}: {why}')

    def differ(self, block: Block, name: str, text: str) -> None:
        """Says that a field of the file is carried out otherwise here; shown on the screen too."""
        if block.has(name):
            block.say(name, text, Kind.REPORTED)
            block.remark(name, text)


def rounded(value: float) -> float:
    """Returns a computed number with six digits."""
    return float(f'{value:.6g}')
