"""`freeze_variables` and `update_trainable_variables` as one of the Object Detection API's trainers read them. Pure.

    judged = judge(['.*FeatureExtractor.*'], [], variables, 'model_main')
    judged.frozen           # the variables that the trainer would not have moved
    scopes(judged, variables)       # ['backbone/.*', 'roi_head/.*']

Which trainer a file was written for cannot be seen from it, so a rule is chosen, and what a pattern hits under each is told.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Sequence

from stagetrain.bridges.tfod.names import Variable
from stagetrain.errors import ConfigError, known_names

FREEZE, UPDATE = 'freeze_variables', 'update_trainable_variables'
RULES = ('train', 'model_main', 'tf2')
WHAT = {
    'train': 'legacy/train.py: a pattern must match from the beginning of a name; update_trainable_variables is not read',
    'model_main': 'model_main.py: a pattern may match anywhere in a name with :0; freeze_variables wins',
    'tf2': 'model_main_tf2.py: neither field is read, everything trains',
}
"""Rule -> how its trainer reads the fields."""


@dataclasses.dataclass(frozen=True)
class Hits:
    """What one pattern hits."""

    field: str
    pattern: str
    by_rule: dict[str, tuple[str, ...]]
    """Rule -> names."""
    problem: str = ''
    """Why the pattern decides nothing under the chosen rule, and what would; empty where it does."""


@dataclasses.dataclass(frozen=True)
class Judged:
    """What a trainer freezes."""

    hits: tuple[Hits, ...]
    frozen: tuple[Variable, ...]


def judge(freeze: Iterable[str], update: Iterable[str], variables: Sequence[Variable], rule: str) -> Judged:
    """Applies both fields under a rule.

    Args:
      freeze: patterns of `freeze_variables`; the same one several times counts once.
      update: patterns of `update_trainable_variables`.
      variables: all trainable ones.
      rule: one of `RULES`.

    Raises:
      ConfigError: A pattern is no regular expression, or nothing would be trained.
    """
    names = [variable.name for variable in variables]
    frozen_by, trained_by = list(dict.fromkeys(freeze)), list(dict.fromkeys(update))
    hits = [_hits(FREEZE, pattern, names, rule) for pattern in frozen_by]
    hits += [_hits(UPDATE, pattern, names, rule) for pattern in trained_by]
    out = {name for hit in hits if hit.field == FREEZE for name in hit.by_rule[rule]}
    if trained_by and rule == 'model_main':
        wanted = {name for hit in hits if hit.field == UPDATE for name in hit.by_rule[rule]}
        out |= set(names) - wanted
    if names and len(out) == len(names) and not any(hit.problem for hit in hits):
        raise ConfigError(
            f'{FREEZE}: {", ".join(map(repr, frozen_by))} leave nothing to train; expected patterns that spare something'
        )
    return Judged(tuple(hits), tuple(variable for variable in variables if variable.name in out))


def _hits(field: str, pattern: str, names: Sequence[str], rule: str) -> Hits:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{field}: '{pattern}' is no regular expression: {error}") from error
    by_rule = {name: _of_rule(compiled, field, names, name) for name in RULES}
    problem = '' if by_rule[rule] or rule == 'tf2' else _problem(field, pattern, names, rule, by_rule)
    return Hits(field, pattern, by_rule, problem)


def _of_rule(pattern: re.Pattern[str], field: str, names: Sequence[str], rule: str) -> tuple[str, ...]:
    if rule == 'tf2' or (rule == 'train' and field == UPDATE):
        return ()
    if rule == 'train':
        return tuple(name for name in names if pattern.match(name))
    return tuple(name for name in names if pattern.search(f'{name}:0'))


def _problem(field: str, pattern: str, names: Sequence[str], rule: str, by_rule: dict[str, tuple[str, ...]]) -> str:
    """Says why a pattern hits nothing, with the nearest that would."""
    if field == UPDATE and rule == 'train':
        return ''  # The rule does not read the field; that is said once, and is no fault of the pattern.
    near = [text for text in _nearest(pattern, names) if _count(text, names, rule)]
    meant = f' Nearest that would: {", ".join(repr(text) for text in near[:3])}.' if near else ''
    elsewhere = [f'{name} {len(found)}' for name, found in by_rule.items() if found]
    other = f' Under other rules: {", ".join(elsewhere)}.' if elsewhere else ''
    beginnings = known_names({name.split('/')[0] for name in names})
    return f'hits none of {len(names)} variables under rule {rule}.{meant}{other} Names begin with: {beginnings}'


def _count(pattern: str, names: Sequence[str], rule: str) -> int:
    try:
        return len(_of_rule(re.compile(pattern), FREEZE, names, rule))
    except re.error:
        return 0


def _nearest(pattern: str, names: Sequence[str]) -> list[str]:
    """Returns patterns that may have been meant: parts between commas, with stars that were lost, of the nearest names."""
    parts = [part.strip() for part in pattern.split(',') if part.strip()] if ',' in pattern else []
    whole = [f'.*{pattern.strip(".*^$")}.*'] if pattern.strip('.*^$') else []
    segments = sorted({'/'.join(name.split('/')[:depth]) for name in names for depth in (1, 2, 3)})
    close = difflib.get_close_matches(pattern, segments, n=2, cutoff=0.5)
    return [*parts, *whole, *close]


# ---- as scopes --------------------------------------------------------------------------------------------------------------

_PART = {'weights': 'kernel', 'kernel': 'kernel', 'biases': 'bias', 'bias': 'bias', 'gamma': 'gamma', 'beta': 'beta'}
_STAGE = re.compile(r'(\w+/conv)(\d)(?:_block(\d+))?_')


def canonical_names(variable: Variable) -> tuple[str, ...]:
    """Returns what a variable of the API is here, where a convolution before BatchNorm has a bias that goes with its weights."""
    if variable.layer is None:
        return ()
    part = _PART[variable.name.rpartition('/')[2]]
    with_bias = part == 'kernel' and bool(_STAGE.match(f'{variable.layer}_'))
    return (f'{variable.layer}/kernel', f'{variable.layer}/bias') if with_bias else (f'{variable.layer}/{part}',)


def scopes(judged: Judged, variables: Sequence[Variable]) -> list[str]:
    """Returns scopes on canonical names that freeze what the trainer would have frozen, and nothing else that it has."""
    frozen = {name for variable in judged.frozen for name in canonical_names(variable)}
    others = {name for variable in variables for name in canonical_names(variable)} - frozen
    found: list[str] = []
    for group, scope in ((_module, '{}/.*'), (_convolutions, '{}/.*_conv/.*'), (_stage, '{}_.*'), (_block, '{}_.*')):
        found += _whole(frozen, others, group, scope)
    layers = sorted(name.rpartition('/')[0] for name in frozen)
    for layer in dict.fromkeys(layers):
        own = {name for name in frozen if name.startswith(f'{layer}/')}
        is_whole = not any(name.startswith(f'{layer}/') for name in others)
        found += [f'{layer}/.*'] if is_whole else sorted(own)
    return found


def _whole(frozen: set[str], others: set[str], group: Callable[[str], str], scope: str) -> list[str]:
    """Returns scopes of groups that are frozen altogether, and takes their names out of `frozen`."""
    spared = {group(name) for name in others}
    whole = sorted({group(name) for name in frozen} - spared - {''})
    frozen -= {name for name in frozen if group(name) in whole}
    return [scope.format(name) for name in whole]


def _module(name: str) -> str:
    return name.split('/')[0]


def _convolutions(name: str) -> str:
    """The convolutions of a module, where it has BatchNorm beside them that trains."""
    return name.split('/')[0] if re.match(r'\w+/conv\d\w*_conv/', name) else ''


def _stage(name: str) -> str:
    found = _STAGE.match(name)
    return f'{found[1]}{found[2]}' if found else ''


def _block(name: str) -> str:
    found = _STAGE.match(name)
    return f'{found[1]}{found[2]}_block{found[3]}' if found and found[3] else ''
