"""A `pipeline.config` of the Object Detection API as a pipeline file of stagetrain, and a report of every field.

imported = import_file('pipeline.config', Choices(freeze_rule='train'))
imported.pipeline        # YAML text that `stagetrain check` accepts
imported.report          # what became of each field, and of each freeze pattern
imported.remarks         # lines for the screen
"""

from __future__ import annotations

import dataclasses
import gzip
import os
import pathlib
import re
import shutil
import zlib
from collections.abc import Callable

from stagetrain.bridges.tfod import (
    centernet,
    checkpoints,
    faster_rcnn,
    freezing,
    inputs,
    names,
    parts,
    reading,
    retinanet,
    stages,
    training,
    writing,
)
from stagetrain.bridges.tfod import report as reports
from stagetrain.bridges.tfod.account import Account, Block, Entry, Kind
from stagetrain.bridges.tfod.draft import Draft
from stagetrain.bridges.tfod.extractors import Extractor
from stagetrain.config import load
from stagetrain.config.check import check_pipeline
from stagetrain.errors import ConfigError, DataError

PIPELINE, REPORT = 'pipeline.yaml', 'report.md'
MAX_CONVS = 100
"""Of a head, of which names are made."""
VOC_METRICS = {'pascal_voc_detection_metrics', 'weighted_pascal_voc_detection_metrics', 'pascal_voc_metrics'}
COCO_METRICS = {'coco_detection_metrics', 'coco_mask_metrics'}
_ORDER = ('name', 'model', 'data', 'sources', 'evaluation', 'train', 'stages')


@dataclasses.dataclass(frozen=True)
class Choices:
    """What a file does not tell."""

    freeze_rule: str = 'model_main'
    """Which trainer reads the freeze patterns: one of `freezing.RULES`."""
    allow_unmatched: bool = False
    """Write patterns that hit nothing as a comment; without it they are an error."""
    backbone: str | None = None
    """What stands for a feature extractor that is not here."""
    recipe: str | None = None
    """`four_step`: the one training as four stages."""


@dataclasses.dataclass(frozen=True)
class Imported:
    """What an import gives."""

    source: str
    """The file."""
    pipeline: str
    report: str
    remarks: tuple[str, ...]
    set_lines: tuple[str, ...]
    """Options of `stagetrain check` for what the file does not tell."""
    entries: tuple[Entry, ...]
    """What became of each field."""
    num_unknown: int
    """Fields that no release of the API known here has."""
    hits: tuple[freezing.Hits, ...]
    """What each freeze pattern hits."""
    copies: tuple[tuple[str, str], ...] = ()
    """Records compressed with GZIP, and where the pipeline file expects them without, relative to itself."""


def import_file(path: str | os.PathLike[str], choices: Choices = Choices()) -> Imported:
    """Translates a file; nothing is written.

    Raises:
      ConfigError: The file cannot be read, needs what is not here, or a freeze pattern hits nothing.
      DataError: A label map is wrong.
    """
    parsed = reading.read(path)
    account = Account(parsed)
    draft = Draft(account)
    network, extractor = _network(draft, account.root.block('model'), choices)
    train = account.root.block('train_config')
    training.translate(draft, train, choices.freeze_rule)
    is_added = train.take('add_regularization_loss', parts.L2)
    parts.regularisation(draft, _regularised(network), is_added)
    _evaluation(draft, account.root.block('eval_config'))
    draft.document.setdefault('data', {})
    inputs.translate(draft, account.root, parts.num_classes(network))
    loads = checkpoints.translate(draft, train, extractor)
    judged, comments = _freezing(draft, train, extractor, choices)
    scopes = [] if judged is None else _scopes(draft, train, extractor, judged)
    draft.put('name', _name(path))
    draft.document['stages'] = stages.make(draft, choices.recipe, scopes, loads)
    head = _head(parsed, choices, draft, comments)
    body = writing.render({key: draft.document[key] for key in _ORDER if key in draft.document}, draft.notes)
    hits = () if judged is None else judged.hits
    entries = account.entries()
    remarks = (*parsed.remarks, *_unknown_lines(parsed), *account.remarks)
    report = reports.render(parsed, entries, hits, choices.freeze_rule, remarks)
    return Imported(
        parsed.path,
        '\n'.join(head) + '\n' + body,
        report,
        remarks,
        tuple(dict.fromkeys(draft.set_lines)),
        tuple(entries),
        len(parsed.unknown),
        hits,
        tuple(draft.copies),
    )


def write(imported: Imported, folder: pathlib.Path) -> None:
    """Writes `pipeline.yaml`, `report.md` and uncompressed copies of records into a folder, and checks the pipeline file.

    Raises:
      ConfigError: The pipeline file is not correct.
      DataError: Compressed records are damaged.
    """
    for source, name in imported.copies:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        _copy_plain(source, folder / name)
    (folder / PIPELINE).write_text(imported.pipeline, encoding='utf-8')
    (folder / REPORT).write_text(imported.report, encoding='utf-8')
    try:
        check_pipeline(load.load_pipeline(folder / PIPELINE))
    except ConfigError as error:
        raise ConfigError('\n'.join(_traced(imported, line) for line in str(error).splitlines())) from error


_REFUSED = re.compile(r'.*?pipeline\.yaml(?::\d+)?: (?:(?P<key>[\w.\[\]]+): )?(?P<reason>.*)')


def _traced(imported: Imported, line: str) -> str:
    """Returns what is wrong with a key of the pipeline file, with the field that it is from."""
    found = _REFUSED.fullmatch(line)
    if found is None:
        return line
    key = re.sub(r'\[\d+\]', '', found['key'] or '').removeprefix('stages.')
    fields = [entry for entry in imported.entries if entry.kind is Kind.MAPPED and key in entry.text.split(', ')]
    places = ', '.join(f'{imported.source}:{entry.line}: {entry.path}: {entry.value}' for entry in fields)
    return f'{places or imported.source}: becomes {found["key"]}: {found["reason"]}'


def _copy_plain(source: str, target: pathlib.Path) -> None:
    """Writes a file of records without compression, whether it has any or not."""
    if not inputs.is_compressed(source):
        shutil.copyfile(source, target)
        return
    try:
        with gzip.open(source) as compressed, target.open('wb') as plain:
            shutil.copyfileobj(compressed, plain)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f'{source}: damaged: {error}; expected records compressed with GZIP') from error


# ---- the network ------------------------------------------------------------------------------------------------------------

_FAMILIES: dict[str, Callable[[Draft, Block, str | None], Extractor]] = {
    'faster_rcnn': faster_rcnn.translate,
    'ssd': retinanet.translate,
    'center_net': centernet.translate,
}


def _network(draft: Draft, model: Block, choices: Choices) -> tuple[Block, Extractor]:
    kind = model.choice()
    if kind not in _FAMILIES:
        place = draft.account.parsed.place(model.at(kind) if kind else 'model')
        found = f'{kind} is not here' if kind else 'the file has no network'
        raise ConfigError(f'{place}: {found}; expected one of faster_rcnn, ssd (with a ResNet and FPN), center_net')
    network = model.block(kind)
    return network, _FAMILIES[kind](draft, network, choices.backbone)


def _regularised(network: Block) -> list[Block]:
    if network.path.endswith('faster_rcnn'):
        return faster_rcnn.regularised(network, network.take('number_of_stages'))
    return retinanet.regularised(network) if network.path.endswith('ssd') else []


def _evaluation(draft: Draft, block: Block) -> None:
    if block.has('batch_size'):
        draft.copy(block, 'batch_size', 'evaluation.batch_size', change=lambda number: max(number, 1))
    metrics = block.take('metrics_set', 'evaluation.voc_ap')
    if VOC_METRICS & set(metrics):
        draft.put('evaluation.voc_ap', True)
    elif metrics:
        block.account.say(block.at('metrics_set'), Kind.MEANINGLESS, "COCO's metrics are always measured")
    others = [name for name in metrics if name not in VOC_METRICS | COCO_METRICS]
    if others:
        block.account.say(block.at('metrics_set'), Kind.REPORTED, f'not measured here: {", ".join(others)}')
        block.account.remark(block.at('metrics_set'), f'not measured here: {", ".join(others)}')
    if not draft.has('train.ema'):
        block.say('use_moving_averages', 'there are none: train_config does not average', Kind.MEANINGLESS)


# ---- freezing ---------------------------------------------------------------------------------------------------------------


def _variables(draft: Draft, extractor: Extractor) -> list[names.Variable]:
    model = draft.document['model']
    shape = names.Shape(
        model['type'],
        batch_norm_trains=not draft.rests,
        levels=(model.get('min_level', 3), min(model.get('max_level', 7), parts.MAX_LEVEL)),
        num_convs=min(model.get('head', {}).get('num_convs', 4), MAX_CONVS),
        num_mask_convs=min(model.get('mask_head', {}).get('num_convs', 2), MAX_CONVS),
    )
    return names.variables(extractor, shape)


def _freezing(draft: Draft, block: Block, extractor: Extractor, choices: Choices) -> tuple[freezing.Judged | None, list[str]]:
    """Returns what the patterns freeze, None where there is none, and comments for patterns that decide nothing."""
    rule = choices.freeze_rule
    freeze, update = (block.take(name) for name in (freezing.FREEZE, freezing.UPDATE))
    if not freeze and not update:
        return None, []
    judged = _judged(draft, block, freeze, update, extractor, rule)
    problems = [hit for hit in judged.hits if hit.problem]
    if problems and not choices.allow_unmatched:
        lines = [
            f"{_place(block, hit)}: '{hit.pattern}' {hit.problem}. --allow_unmatched imports without it." for hit in problems
        ]
        raise ConfigError('\n'.join(lines))
    for name, patterns in ((freezing.FREEZE, freeze), (freezing.UPDATE, update)):
        if patterns and rule != 'tf2' and not (name == freezing.UPDATE and rule == 'train'):
            block.account.take(block.at(name), 'stages[].freeze_variables')
    _tell(block, judged, extractor, rule)
    unused = [hit for hit in judged.hits if hit.problem or rule == 'tf2' or not hit.by_rule[rule]]
    return judged, [f"{hit.field} '{hit.pattern}': {hit.problem or f'not read under rule {rule}'}" for hit in unused]


def _scopes(draft: Draft, block: Block, extractor: Extractor, judged: freezing.Judged) -> list[str]:
    """Returns the scopes of what is frozen; of a backbone that is no ResNet only as a whole, for its layers are others."""
    found = freezing.scopes(judged, _variables(draft, extractor))
    if extractor.depth is not None:
        return found
    parts_of = [scope for scope in found if re.match('(backbone|roi_head)/', scope) and not re.fullmatch(r'\w+/\.\*', scope)]
    if parts_of:
        text = f'{extractor.backbone} has no layers that {", ".join(parts_of)} could mean; they train'
        block.remark(freezing.FREEZE, text)
        block.account.say(block.at(freezing.FREEZE), Kind.REPORTED, text)
    return [scope for scope in found if scope not in parts_of]


def _judged(draft: Draft, block: Block, freeze: list[str], update: list[str], extractor: Extractor, rule: str) -> freezing.Judged:
    try:
        return freezing.judge(freeze, update, _variables(draft, extractor), rule)
    except ConfigError as error:
        raise ConfigError(
            f'{block.account.parsed.place(block.at(freezing.FREEZE if freeze else freezing.UPDATE))}: {error}'
        ) from error


def _place(block: Block, hit: freezing.Hits) -> str:
    return block.account.parsed.place(block.at(hit.field))


def _tell(block: Block, judged: freezing.Judged, extractor: Extractor, rule: str) -> None:
    """Says which rule was taken, and what each pattern hits under each."""
    account = block.account
    account.remarks.append(f'freeze rule {rule} ({freezing.WHAT[rule]}); choose another with --freeze_rule')
    if extractor.is_keras:
        also = 'and so is this import' if rule == 'tf2' else 'stagetrain carries the patterns out'
        account.remarks.append(f'the file is one for TensorFlow 2, whose trainer ignores {freezing.FREEZE}; {also}')
    for hit in judged.hits:
        counts = ', '.join(f'{name} {len(found)}' for name, found in hit.by_rule.items())
        shown = f': {", ".join(hit.by_rule[rule][:2])}, ...' if len(hit.by_rule[rule]) > 2 else ''
        account.remarks.append(f"{_place(block, hit)}: '{hit.pattern}' hits by rule: {counts}{shown}")
    idle = sum(variable.layer is None for variable in judged.frozen)
    if idle:
        account.remarks.append(f'{idle} of these are a block4 of the first stage that the API builds and never uses')


# ---- around the keys --------------------------------------------------------------------------------------------------------


def _name(path: str | os.PathLike[str]) -> str:
    stem = re.sub(r'[^a-z0-9]+', '_', os.path.splitext(os.path.basename(path))[0].lower()).strip('_')
    return (stem if re.match('[a-z]', stem) else f'imported_{stem}').rstrip('_')[:64]


def _unknown_lines(parsed: reading.Parsed) -> list[str]:
    return [f'{parsed.path}:{item.line}: {item.path}: not known, kept in a comment.{item.nearest}' for item in parsed.unknown]


def _head(parsed: reading.Parsed, choices: Choices, draft: Draft, comments: list[str]) -> list[str]:
    """Returns the comment that opens the file."""
    lines = writing.comment(
        f'Imported from {os.path.basename(parsed.path)} of the Object Detection API; report.md has every field.'
    )
    if comments or draft.account.root.block('train_config').take('freeze_variables'):
        lines += writing.comment(f'Freeze rule: {choices.freeze_rule} ({freezing.WHAT[choices.freeze_rule]}).')
    for text in (*draft.weight_notes, *comments):
        lines += writing.comment(text)
    for item in parsed.unknown:
        lines += writing.comment(f'Not known, line {item.line}:')
        lines += [f'#   {line}'.rstrip() for line in item.source.splitlines()]
    return lines
