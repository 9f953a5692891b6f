"""What this package brings itself, one file for each: every module here registers a detector, backbones, a data format or a kind
of weight file with its options, as a plugin does. `specs` imports them all, and so does whoever imports one of them first."""

from stagetrain.config import specs  # noqa: F401
