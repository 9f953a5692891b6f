"""The artefact `proposals`: an earlier stage's region proposals, stored for every image and view."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from stagetrain.config.artefacts import ArtefactSettings, ArtefactSpec, register_artefact

Positive = Annotated[int, Field(gt=0)]


class Proposals(ArtefactSettings):
    """Region proposals of an earlier stage, stored once per image and view, that replace this stage's own RPN."""

    origin: str = Field(alias='from')
    """The stage whose RPN makes them."""
    max_per_image: Positive = 2000
    """Proposals kept for each training image (the paper: 2000)."""
    pre_nms_top_k: Positive = 12000
    """Highest-scoring boxes of each level that enter non-maximum suppression in making training proposals."""
    nms_iou: Annotated[float, Field(gt=0, le=1)] = 0.7
    """IoU threshold of non-maximum suppression."""


register_artefact(
    ArtefactSpec(
        name='proposals',
        settings=Proposals,
        implementation='stagetrain.stores.proposals:make_proposals',
        reader='stagetrain.stores.proposals:ProposalReader',
        modules=lambda spec: spec.proposal_modules,
        rules='stagetrain.config.proposal_rules:problems',
        seconds='stagetrain.stores.proposals:seconds_of_making',
    )
)
