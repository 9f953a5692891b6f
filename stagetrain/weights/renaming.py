r"""Rules: from the names in a foreign weight file to canonical names. Pure string work, without TensorFlow.

apply({r'Conv_(\d+)/weights': r'backbone/conv_\1/kernel'}, ['Conv_1/weights', 'global_step'], 'a.ckpt')
# {'backbone/conv_1/kernel': 'Conv_1/weights'}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from stagetrain.errors import WeightsError, suggestion


def apply(rules: Mapping[str, str], names: Iterable[str], place: str) -> dict[str, str]:
    """Returns canonical name -> name in the file, for every name that a rule matches in full.

    Args:
      rules: pattern -> template, in order; the first pattern that matches a name decides.
      names: the names in the file.
      place: the file, for errors.

    Raises:
      WeightsError: a rule matches nothing, a template does not fit its pattern, or two names get one canonical name.
    """
    renamed: dict[str, str] = {}
    unused = dict.fromkeys(rules)
    names = sorted(names)
    for name in names:
        pattern, match = _first_match(rules, name)
        if match is None or pattern is None:
            continue
        unused.pop(pattern, None)
        canonical = _expand(match, rules[pattern], place)
        if canonical in renamed:
            raise WeightsError(f"{place}: rules give '{canonical}' to both {renamed[canonical]} and {name}; narrow a pattern")
        renamed[canonical] = name
    for pattern in unused:
        raise WeightsError(
            f"{place}: rule '{pattern}' decides about none of the {len(names)} names in the file (a pattern must match the whole "
            f'name, and an earlier rule wins).{suggestion(pattern, names)} `stagetrain weights show FILE` lists them.'
        )
    return renamed


def _first_match(rules: Mapping[str, str], name: str) -> tuple[str | None, re.Match[str] | None]:
    for pattern in rules:
        match = re.fullmatch(pattern, name)
        if match is not None:
            return pattern, match
    return None, None


def _expand(match: re.Match[str], template: str, place: str) -> str:
    try:
        return match.expand(template)
    except (re.error, IndexError) as error:
        raise WeightsError(f"{place}: template '{template}' does not fit its pattern '{match.re.pattern}': {error}") from error
