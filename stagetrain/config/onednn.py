"""Whether TensorFlow computes with oneDNN's kernels. It is decided here, for the last bits of every number depend on it.

    decide(os.environ)            # before TensorFlow is imported, in every process that computes
    value(os.environ)             # 'on': recorded among the versions that decide a stage's numbers

TensorFlow by itself turns oneDNN on only where the processor has instructions for neural networks, so that the same pipeline
would be computed by other kernels on another machine, and up to 1.45 times slower. stagetrain switches it on wherever
TF_ENABLE_ONEDNN_OPTS does not say otherwise.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Mapping, MutableMapping

from stagetrain.errors import ConfigError

VARIABLE = 'TF_ENABLE_ONEDNN_OPTS'
ON, OFF = 'on', 'off'
_MEANINGS = {'1': ON, 'true': ON, '0': OFF, 'false': OFF}
"""What TensorFlow understands, in small or large letters (tsl/util/env_var.cc)."""
_NEURAL_NETWORK_FLAGS = frozenset({'avx512_vnni', 'avx512_bf16', 'avx_vnni', 'amx_tile', 'amx_int8', 'amx_bf16'})
"""As /proc/cpuinfo names what `DefaultOneDnnPolicy` asks for (tensorflow/core/util/port.cc)."""
_CPUINFO = pathlib.Path('/proc/cpuinfo')


def decide(environ: MutableMapping[str, str]) -> None:
    """Has TensorFlow compute with oneDNN in this process and its children, unless the user's value says otherwise.

    A process that has imported TensorFlow before is left as it is: TensorFlow has read the variable by then.

    Raises:
      ConfigError: the user's value is none that TensorFlow understands.
    """
    if value(environ) == ON and not environ.get(VARIABLE) and not _is_imported():
        environ[VARIABLE] = '1'


def value(environ: Mapping[str, str]) -> str:
    """Returns `on` or `off`: with what stagetrain computes in this environment.

    Raises:
      ConfigError: the user's value is none that TensorFlow understands, which would then choose by the processor.
    """
    given = environ.get(VARIABLE)
    if not given:
        return ON
    if given.lower() not in _MEANINGS:
        raise ConfigError(
            f"the environment's {VARIABLE}: found '{given}'; expected 1, true, 0 or false, as TensorFlow reads it. "
            f'Unset it and stagetrain switches oneDNN on'
        )
    return _MEANINGS[given.lower()]


def tensorflows_choice(cpuinfo: pathlib.Path = _CPUINFO) -> str | None:
    """Returns what TensorFlow chooses on this processor by itself; None where that is not known (not x86, not Linux)."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return None
    flags = next((line.partition(':')[2].split() for line in lines if line.startswith('flags')), None)
    if flags is None:
        return None
    return ON if _NEURAL_NETWORK_FLAGS & set(flags) else OFF


def require_decided(environ: Mapping[str, str]) -> None:
    """Raises `ConfigError` in a process whose TensorFlow was imported too early and computes otherwise than what is recorded."""
    if _is_imported() and not environ.get(VARIABLE) and tensorflows_choice() not in (None, value(environ)):
        raise ConfigError(
            f'TensorFlow was imported before stagetrain could switch oneDNN on, and has left it off on this processor. Set '
            f'{VARIABLE}=1 (or 0) before that import, or let stages run in child processes'
        )


def _is_imported() -> bool:
    return 'tensorflow' in sys.modules
