"""A strategy from outside the package, one file: it trains, freezes, resumes and gives the bits of `one_device`."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from stagetrain import files
from stagetrain.api.preparation import checked
from stagetrain.errors import ConfigError
from tests import tiny

pytestmark = pytest.mark.usefixtures('plugins_forgotten')
OUTSIDE = pathlib.Path(__file__).parents[1] / 'outside'


def document(data: pathlib.Path) -> dict[str, Any]:
    stages = tiny.four_steps()[:2]
    stages[1] |= {'init': {'backbone': 'rpn_1', 'decoder': 'rpn_1'}, 'freeze_variables': ['backbone/.*']}
    stages[1]['train'] |= {'ema': {}, 'learning_rate_multipliers': {'.*/bias': 2.0}, 'gradient_accumulation': 2}
    return {**tiny.pipeline(data, stages), 'plugins': [str(OUTSIDE / 'first_cpu')], 'runtime': {'strategy': 'first_cpu'}}


@pytest.fixture
def config(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> pathlib.Path:
    """The pipeline file."""
    return tiny.write_config(tmp_path / 'pinned.yaml', document(tiny_data))


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('runtime.strategy=horovod', r"runtime\.strategy: found 'horovod' .*expected .*'one_device'.*'first_cpu'"),
        ('runtime.strategy=tpu', r"runtime\.strategy: found 'tpu', which does not work yet: .* Working here: .*first_cpu"),
        ('runtime.first_cpu={}', r'runtime\.first_cpu: unknown key'),
    ],
)
def test_its_name_is_known_like_our_own(config: pathlib.Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        checked(config, [override])


@pytest.mark.slow
def test_it_trains_freezes_and_resumes_with_the_bits_of_one_device(config: pathlib.Path, tmp_path: pathlib.Path) -> None:
    runs = {name: tmp_path / name for name in ('first_cpu', 'one_device')}
    for name, run in runs.items():
        code, output = tiny.run_command('run', config, '--run_dir', run, '--set', f'runtime.strategy={name}', '--in_process')
        assert code == 0, output
    pinned, alone = (
        {path.relative_to(run): tiny.tensors(path.parent) for path in run.rglob('ckpt.index')} for run in runs.values()
    )
    assert pinned == alone and len(pinned) >= 4
    for file in ('metrics.jsonl', 'evaluation.json', 'detections.json', 'frozen.json'):
        first, second = ((run / 'stages/detector_1' / file).read_text() for run in runs.values())
        assert file == 'metrics.jsonl' or first == second
    assert [name for name in files.read_json(runs['first_cpu'] / 'stages/detector_1/frozen.json') if name.startswith('backbone/')]
    assert tiny.run_command('verify', runs['first_cpu'])[0] == 0
    assert 'all 2 stages are up to date' in tiny.run_command('run', config, '--run_dir', runs['first_cpu'])[1]
    assert (
        'runtime.strategy: first_cpu -> one_device'
        in tiny.run_command('plan', config, '--run_dir', runs['first_cpu'], '--set', 'runtime.strategy=one_device')[1]
    )


@pytest.mark.slow
def test_a_stopped_and_resumed_stage_ends_with_the_same_bits(tmp_path: pathlib.Path, tiny_data: pathlib.Path) -> None:
    job = tiny.job(tmp_path / 'whole', document(tiny_data), 'rpn_1')
    trained = tiny.Trained(job, *tiny.train(job))
    assert tiny.tensors(tiny.resumed(trained, tmp_path / 'stopped')) == tiny.tensors(trained.checkpoint)
