"""What decides a stage's result."""

from __future__ import annotations

import pathlib

import pytest

from stagetrain.config import documentation, options, schema
from stagetrain.config.builtin import experiment
from stagetrain.errors import DataError, WeightsError
from stagetrain.pipeline import fingerprint
from tests.fakes.project import Project


def test_cosmetic_keys_are_marked_and_their_documentation_says_so() -> None:
    types = [schema.PipelineBase, schema.Data, schema.Stage, schema.Train, schema.Features, schema.Evaluation, schema.Runtime]
    found = [(name, field) for kind in types for name, field in kind.model_fields.items()]
    assert {name for name, field in found if options.is_cosmetic(field)} == {
        'checkpoint_interval',
        'checkpoint_minutes',
        'summary_interval',
        'on_nan',
        'on_nan_limit',
        'max_loss',
        'max_to_keep',
        'cache_gib',
        'batch_size',
        'name',
        'store',
        'budget_gib',
        'require',
    }
    texts = [documentation.of_fields(kind).get(name, '') for kind in types for name in kind.model_fields]
    assert all(options.is_cosmetic(field) == text.startswith('Cosmetic.') for (_, field), text in zip(found, texts, strict=True))
    assert not options.is_cosmetic(schema.Train.model_fields['batch_size'])


def test_flattening_keeps_defaults_and_the_chosen_branch_alone(project: Project) -> None:
    parts = dict(fingerprint.flatten('model', project.load().pipeline.model))
    assert parts['model.input_size'] == [64, 64, 3]
    assert parts['model.backbone.keras_mobilenet_v1.alpha'] == 0.25
    assert parts['model.rpn_head.num_convs'] == 1
    assert {name.split('.')[2] for name in parts if name.startswith('model.backbone.')} == {'type', 'keras_mobilenet_v1'}


def test_flattening_lists_of_settings_goes_by_number() -> None:
    source = schema.DataSource(format='voc', path='x')
    assert dict(fingerprint.flatten('a', [source]))['a[0].format'] == 'voc'


def test_differences_are_told_in_words() -> None:
    old = {'a': 'f' * 64, 'b': 1, 'd': 2}
    new = {'a': 'e' * 64, 'b': 1, 'c': True}
    assert fingerprint.differences(old, new, {'a': 'training data'}) == [
        'training data changed (ffffffff -> eeeeeeee)',
        'c: (none) -> True',
        'd: 2 -> (none)',
    ]
    assert fingerprint.differences(old, old) == []


def test_a_missing_source_is_named(project: Project) -> None:
    (project.folder / 'weights.h5').unlink()
    with pytest.raises(WeightsError, match=r'sources\.imagenet: .*weights\.h5: no such file; expected a Keras `\.h5`'):
        project.plan()


def test_a_checkpoint_source_is_all_its_files(project: Project, tmp_path: pathlib.Path) -> None:
    text = project.config.read_text().replace('{keras_h5: weights.h5}', '{checkpoint: "ckpt[1]-7"}')
    project.config.write_text(text)
    for name in ('ckpt[1]-7.index', 'ckpt[1]-7.data-00000-of-00001', 'ckpt1-7.index'):
        (tmp_path / name).write_text(name)
    pipeline = project.load().pipeline
    before = fingerprint.source_digests(pipeline, None)['imagenet']
    (tmp_path / 'ckpt1-7.index').write_text('of another one')
    assert fingerprint.source_digests(pipeline, None)['imagenet'] == before
    (tmp_path / 'ckpt[1]-7.data-00000-of-00001').write_text('changed')
    assert fingerprint.source_digests(pipeline, None)['imagenet'] != before


def test_digests_are_cached_until_the_file_changes(
    project: Project, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, 'RACY_NS', 0)
    pipeline, cache = project.load().pipeline, tmp_path / 'cache' / 'sources.json'
    first = fingerprint.source_digests(pipeline, cache)
    read: list[pathlib.Path] = []
    real = fingerprint.files.sha256_file
    monkeypatch.setattr(fingerprint.files, 'sha256_file', lambda path: read.append(path) or real(path))
    assert fingerprint.source_digests(pipeline, cache) == first
    assert read == []
    (tmp_path / 'weights.h5').write_bytes(b'longer than it was before')
    assert fingerprint.source_digests(pipeline, cache) != first
    cache.write_text('not JSON')
    assert len(fingerprint.source_digests(pipeline, cache)) == 1


def test_a_folder_that_the_model_garden_takes_for_a_pattern_is_refused(tmp_path: pathlib.Path, project: Project) -> None:
    (tmp_path / 'lr[0.1]').mkdir()
    (tmp_path / 'lr[0.1]' / 'a.tfrecord').touch()
    data = {'train_data': {'input_path': f'{tmp_path}/lr[0.1]/*.tfrecord'}}
    model = experiment.Experiment(type='experiment', name='retinanet', modules=['backbone'], overrides={'task': data})
    pipeline = project.load().pipeline.model_copy(update={'models': {'other': model}})
    with pytest.raises(DataError, match=r"lr\[0.1\]/\*.tfrecord: its folder is there, but .* for a pattern's. Rename the folder"):
        fingerprint.input_digests(pipeline)
