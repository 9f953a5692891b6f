"""One place decides whether TensorFlow computes with oneDNN; the user's own value wins."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from stagetrain.config import onednn
from stagetrain.errors import ConfigError

ZEN_3 = 'processor\t: 0\nmodel name\t: AMD EPYC 7R13\nflags\t\t: fpu sse4_2 avx avx2 fma\n'
ZEN_4 = ZEN_3.replace('avx2', 'avx2 avx512f avx512_vnni')
GRAVITON = 'processor\t: 0\nFeatures\t: fp asimd bf16\nCPU implementer\t: 0x41\n'
PROBE = """
import os, sys
from stagetrain.workers.environment import prepare_environment
prepare_environment()
from tensorflow.python.util import _pywrap_util_port
print('on' if _pywrap_util_port.IsMklEnabled() else 'off')
"""


@pytest.mark.parametrize(
    ('given', 'value'),
    [(None, 'on'), ('', 'on'), ('1', 'on'), ('true', 'on'), ('TRUE', 'on'), ('0', 'off'), ('false', 'off'), ('False', 'off')],
)
def test_the_users_own_value_wins_as_tensorflow_reads_it(given: str | None, value: str) -> None:
    assert onednn.value({} if given is None else {onednn.VARIABLE: given}) == value


def test_what_tensorflow_does_not_understand_is_refused() -> None:
    with pytest.raises(ConfigError, match="TF_ENABLE_ONEDNN_OPTS: found 'yes'; expected 1, true, 0 or false"):
        onednn.decide({onednn.VARIABLE: 'yes'})


def test_it_is_switched_on_before_tensorflow_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, '_is_imported', lambda: False)
    for environ, expected in (({}, '1'), ({onednn.VARIABLE: ''}, '1'), ({onednn.VARIABLE: 'false'}, 'false')):
        onednn.decide(environ)
        assert environ == {onednn.VARIABLE: expected}


@pytest.mark.parametrize(('cpuinfo', 'choice'), [(ZEN_3, 'off'), (ZEN_4, 'on'), (GRAVITON, None), (None, None)])
def test_what_tensorflow_chooses_by_itself_is_known_of_x86_on_linux(
    tmp_path: pathlib.Path, cpuinfo: str | None, choice: str | None
) -> None:
    if cpuinfo is not None:
        (tmp_path / 'cpuinfo').write_text(cpuinfo)
    assert onednn.tensorflows_choice(tmp_path / 'cpuinfo') == choice


@pytest.mark.parametrize(('environ', 'choice', 'is_refused'), [({}, 'off', True), ({}, 'on', False), ({}, None, False)])
def test_a_process_that_imported_tensorflow_first_is_refused_where_it_computes_otherwise(
    environ: dict[str, str], choice: str | None, is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onednn, '_is_imported', lambda: True)
    monkeypatch.setattr(onednn, 'tensorflows_choice', lambda: choice)
    onednn.decide(environ)
    assert environ == {}  # Too late: TensorFlow has read it.
    onednn.require_decided({onednn.VARIABLE: '0'})
    if is_refused:
        with pytest.raises(ConfigError, match=r'TensorFlow was imported before .*Set TF_ENABLE_ONEDNN_OPTS=1 \(or 0\) before'):
            onednn.require_decided(environ)
    else:
        onednn.require_decided(environ)


@pytest.mark.slow
@pytest.mark.parametrize(('given', 'value'), [('', 'on'), ('False', 'off')])
def test_tensorflow_computes_with_what_is_recorded(given: str, value: str) -> None:
    environ = {**os.environ, onednn.VARIABLE: given}
    said = subprocess.run([sys.executable, '-c', PROBE], env=environ, capture_output=True, text=True, check=True).stdout
    assert said.strip() == onednn.value(environ) == value


@pytest.mark.slow
def test_tensorflows_own_choice_is_the_one_that_is_taken_for_it() -> None:
    environ = {name: value for name, value in os.environ.items() if name != onednn.VARIABLE}
    probe = PROBE.replace('\nprepare_environment()', '')
    said = subprocess.run([sys.executable, '-c', probe], env=environ, capture_output=True, text=True, check=True).stdout
    assert onednn.tensorflows_choice() in (None, said.strip())
