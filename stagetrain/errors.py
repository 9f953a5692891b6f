"""What stagetrain raises, and the exit code that each kind of error ends a command with.

An error for a user says the place, what was found, what was expected, and the remedy, in one paragraph. Errors of this module
are printed without a traceback; anything else that escapes is a defect of stagetrain.

    raise ConfigError('configs/a.yaml:12: stages[0].freze: unknown key. Known here: ... Did you mean "freeze_variables"?')
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class StagetrainError(Exception):
    """Base of all expected failures. The command ends with `exit_code`."""

    exit_code = EXIT_FAILED


class BadInput(StagetrainError):
    """Something that the user gave cannot be used; nothing was changed."""

    exit_code = EXIT_BAD_INPUT


class ConfigError(BadInput):
    """A pipeline file, an override or a combination of settings is wrong."""


class DataError(BadInput):
    """An image, an annotation or a data set as a whole cannot be used."""


class WeightsError(BadInput):
    """A weight file cannot be read, or does not fit the variables it is meant for."""


class RunDirectoryError(BadInput):
    """A run directory is held by another process, damaged, or is not one."""


class DamagedFile(RunDirectoryError):
    """A file or folder that stagetrain wrote is not as it was written: torn, truncated, or a bit has flipped."""


class StageFailed(StagetrainError):
    """A stage ran and failed: diverged, lost its child process, or broke the freeze proof."""


class Interrupted(StagetrainError):
    """Ctrl-C or SIGTERM: the state was saved, and the same command goes on from there."""

    exit_code = EXIT_INTERRUPTED


def suggestion(name: str, known: Iterable[str]) -> str:
    """Returns ` Did you mean 'x'?` for the nearest of `known`, at best one of another case; nothing when none is near."""
    known = sorted(known)
    close = [one for one in known if one.casefold() == name.casefold()] or difflib.get_close_matches(name, known, n=1)
    return f" Did you mean '{close[0]}'?" if close else ''


def known_names(known: Iterable[str]) -> str:
    """Returns the sorted names as they are shown behind `Known here:`."""
    return ', '.join(sorted(known)) or '(none)'
