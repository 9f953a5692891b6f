from __future__ import annotations

import pathlib

import h5py
import numpy as np
import pytest

from stagetrain.cli.main import main


def save(path: pathlib.Path, **layers: np.ndarray) -> str:
    """Writes a Keras `.h5` whose layers have one kernel each."""
    with h5py.File(path, 'w') as file:
        file.attrs['layer_names'] = list(layers)
        for layer, value in layers.items():
            group = file.create_group(layer)
            group.attrs['weight_names'] = [f'{layer}/kernel:0']
            group[f'{layer}/kernel:0'] = value
    return str(path)


def lines(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    return [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_show_lists_names_shapes_and_values(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save(tmp_path / 'a.h5', conv=np.array([[1.0, 3.0]], np.float32), nan=np.array([np.nan], np.float32))
    assert main(['weights', 'show', file]) == 0
    shown = lines(capsys)
    assert shown[1] == ['conv/kernel', '1x2', 'float32', '2', '1', '3', '2', '1']
    assert shown[2] == ['nan/kernel', '1', 'float32', '1', '1', 'not', 'finite']
    assert shown[3] == [file, '(keras_h5):', '2', 'arrays,', '3', 'numbers']


def test_show_takes_a_scope(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = save(tmp_path / 'a.h5', conv=np.zeros([1]), other=np.zeros([1]))
    assert main(['weights', 'show', file, '--scope', 'other/.*']) == 0
    assert [line[0] for line in lines(capsys)] == ['name', 'other/kernel', file]
    assert main(['weights', 'show', file, '--scope', 'oter/.*']) == 2
    assert "--scope 'oter/.*' matches none of the 2 names" in capsys.readouterr().err
    assert main(['weights', 'show', file, '--scope', '(']) == 2
    assert "--scope '(' is no regular expression" in capsys.readouterr().err


def test_diff_tells_what_changed_and_by_how_much(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = save(tmp_path / 'a.h5', conv=np.array([3.0, 4.0]), rest=np.ones([2]))
    after = save(tmp_path / 'b.h5', conv=np.array([3.0, 4.5]), rest=np.ones([2]))
    assert main(['weights', 'diff', before, after]) == 0
    assert lines(capsys)[1:] == [
        ['conv/kernel', '2', 'changed', '0.5', '10.000%'],
        ['module', 'equal', 'changed', 'other', 'largest', 'change', 'relative', 'change'],
        ['conv', '0', '1', '0', '0.5', '10.000%'],
        ['rest', '1', '0', '0', '0', '0.000%'],
    ]


def test_diff_of_strangers_is_refused(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = save(tmp_path / 'a.h5', one=np.zeros([1])), save(tmp_path / 'b.h5', two=np.zeros([1]))
    assert main(['weights', 'diff', a, b]) == 2
    assert 'have no name in common (e.g. one/kernel and two/kernel)' in capsys.readouterr().err


def test_a_module_is_left_off_names(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = save(tmp_path / 'a.h5', conv=np.zeros([1]))
    b = save(tmp_path / 'b.h5', **{'backbone/conv': np.zeros([1]), 'rpn_head/conv': np.ones([1])})
    assert main(['weights', 'diff', a, b, '--module', 'backbone']) == 0
    assert lines(capsys)[-1] == ['conv', '1', '0', '0', '0', '0.000%']


def test_a_file_that_is_not_there_is_bad_input(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['weights', 'show', str(tmp_path / 'a.h5')]) == 2
    assert 'a.h5: no such file; expected a .h5, .weights.h5 or .keras' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['show', '{folder}/empty'], r'empty: is none of the weights known here; expected a .h5'),
        (['show', '{folder}/picture.png'], r'picture.png: is none of the weights known here'),
        (['show', '{folder}/none'], r'none: no such weights'),
        (['show', '{folder}/folder.h5'], r'folder.h5: found a folder; expected a file of Keras'),
        (['show', '/'], r'/: is none of the weights known here'),
        (['diff', '{folder}/a.ckpt', '{folder}/picture.png'], r'picture.png: is none of the weights known here'),
    ],
)
def test_what_is_no_weight_file_is_refused_before_tensorflow_is_asked(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / 'picture.png').write_bytes(b'\x89PNG' + bytes(100))
    (tmp_path / 'folder.h5').mkdir()
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'a.ckpt.index').write_bytes(bytes(40) + bytes.fromhex('57fb808b247547db'))
    assert main(['weights', *(argument.format(folder=tmp_path) for argument in arguments)]) == 2
    assert message in capsys.readouterr().err
