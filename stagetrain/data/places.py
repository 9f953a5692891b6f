"""Where the files of a data set lie: names that a data set gives may not lead out of it.

path = inside('/data/voc', 'JPEGImages', '0001.jpg', 'filename')
"""

from __future__ import annotations

import os

from stagetrain.data.annotation import Unusable


def inside(root: str, folder: str, name: str, element: str = '') -> str:
    """Returns the real path of `root/folder/name`, which must exist and must not leave `root`, by `..` or by a link.

    Args:
      root: A real path: links are resolved.
      folder: Inside `root`; '' for `root` itself.
      name: What the data set says, relative to `folder`.
      element: Where it says so, for the error.

    Raises:
      Unusable: The name leads elsewhere, or there is no such file.
    """
    place = os.path.join(folder, name)
    if os.path.isabs(name) or '\\' in name or '\0' in name or '..' in name.split('/'):
        raise Unusable(element, f"expected a name inside '{folder or root}', found '{name}'")
    path = os.path.realpath(os.path.join(root, place))
    if not path.startswith(root.rstrip(os.sep) + os.sep):
        raise Unusable(element, f"'{place}' is a link to {path}, outside the data set")
    if not os.path.isfile(path):
        raise Unusable(element, f"no such file: '{place}'")
    return path
