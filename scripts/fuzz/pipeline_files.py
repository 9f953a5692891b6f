"""Pipeline files, and what loads and checks them."""

from __future__ import annotations

import pathlib

from scripts.fuzz.kind import Kind
from stagetrain.config import check, load


def make_pipeline(folder: pathlib.Path) -> pathlib.Path:
    """A pipeline file."""
    from tests.fakes import project

    path = folder / 'pipeline.yaml'
    path.write_text(project.PIPELINE)
    return path


def use_pipeline(damaged: pathlib.Path) -> None:
    """Loads and checks a pipeline file, and loads the resolved one again."""
    loaded = load.load_pipeline(damaged, environ={})
    check.check_pipeline(loaded)
    assert load.load_resolved(loaded.resolved).pipeline == loaded.pipeline


def _aliases() -> bytes:
    lines = (f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]' for n in range(1, 12))
    return '\n'.join(('a0: &a0 [x]', *lines)).encode()


KINDS = {
    'pipeline': Kind(
        make_pipeline,
        use_pipeline,
        {
            'aliases': lambda _: _aliases(),
            'nested lists': lambda _: b'stages: ' + b'[' * 100_000,
            'nested mappings': lambda _: b'{a: ' * 50_000,
            'indentation': lambda _: b'\n'.join(b' ' * n + b'a:' for n in range(4000)),
            'python object': lambda _: b'model: !!python/object/apply:os.system ["touch marker"]\n',
            'itself as base': lambda _: b'base: pipeline.yaml\n',
            'device as base': lambda _: b'base: /dev/zero\n',
        },
        weight=4,
    )
}
