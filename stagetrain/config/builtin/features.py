"""The artefact `features`: stored outputs of what a stage has frozen, made by the stage that reads them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stagetrain.config.artefacts import ArtefactSpec, register_artefact
from stagetrain.config.options import Cosmetic, Strict


class Features(Strict):
    """Stored outputs of what a stage has frozen, so that its steps need not compute them. `off` is short for `{store: off}`.

    Where to cut is found from the model: behind the last module that the stage leaves as it is, or inside the backbone behind the
    layers up to which it is frozen.
    """

    store: Cosmetic[Literal['auto', 'off', 'memory', 'disk']] = 'auto'
    """Cosmetic. `disk`: in the run directory, shared between stages; `memory`: computed again by each stage; `auto`: on disk
    when views are a finite set and the budget allows it (inside the backbone: and when they take longer to compute than to read),
    else not at all. The losses are the same with and without (float32)."""
    views: Annotated[int, Field(gt=0)] | None = None
    """Draw each image's random views (flips, scale, crop) from so many fixed ones, which makes a jittered set finite."""
    budget_gib: Cosmetic[Annotated[float, Field(gt=0)]] = 4.0
    """Cosmetic. What a store may take."""
    dtype: Literal['float32', 'bfloat16'] = 'float32'
    """What features are stored as; bfloat16 takes half the room and rounds."""


register_artefact(
    ArtefactSpec(name='features', settings=Features, describe='stagetrain.pipeline.feature_plan:describe', reads_data=('train',))
)
