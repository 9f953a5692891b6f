"""What a stage that reads stored proposals must keep to, beside the rules of every artefact."""

from __future__ import annotations

from collections.abc import Iterator

from stagetrain.config.builtin.proposals import Proposals
from stagetrain.config.model_rules import Problem
from stagetrain.config.schema import PipelineBase
from stagetrain.config.stages import StageEntry, live_losses, spec_of
from stagetrain.errors import known_names


def problems(pipeline: PipelineBase, entry: StageEntry, settings: Proposals) -> Iterator[Problem]:
    """Yields (path below `proposals`, text) of what is wrong."""
    del settings
    spec = spec_of(pipeline, entry.stage)
    if not spec.proposal_modules:
        yield (), f'{spec.name} takes no proposals; remove it'
    elif not set(live_losses(entry.stage)) & set(spec.proposal_losses):
        yield (), f'no live loss uses them; remove it, or give one of {known_names(spec.proposal_losses)} a weight'
