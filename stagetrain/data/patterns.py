"""Paths that may be patterns: a name that exists is taken as it is, also when it holds `[`.

matching('lr[0.1]/train-*.tfrecord')        # the files in that folder, although `[0.1]` could be a pattern too
"""

from __future__ import annotations

import glob
import os


def matching(pattern: str) -> list[str]:
    """Returns what matches a pattern, sorted; `**` stands for any folders.

    Where nothing does, its folder counts as it is, and then every `[` in it.
    """
    folder, name = os.path.split(pattern)
    literal = glob.escape(folder)
    fewer = [os.path.join(literal, name), os.path.join(literal, name.replace('[', '[[]')), pattern.replace('[', '[[]')]
    for tried in [pattern, *fewer]:
        if found := sorted(glob.glob(tried, recursive=True)):
            return found
    return []
