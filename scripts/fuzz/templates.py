"""What takes long to make and is made once: a checkpoint, and a finished run directory."""

from __future__ import annotations

import os
import pathlib
import traceback

_templates: dict[str, pathlib.Path] = {}


def checkpoint() -> pathlib.Path:
    """Returns a folder with a checkpoint `ckpt`."""
    return _templates['checkpoint']


def finished_run() -> pathlib.Path:
    """Returns the folder of a project whose run directory, `run`, is finished."""
    return _templates['run']


def make(work: pathlib.Path) -> None:
    """Makes, once and in a process of its own, what takes long to make: a checkpoint and a finished run directory."""

    def write() -> None:
        import tensorflow as tf

        from tests.fakes import project

        tf.train.Checkpoint(a=tf.Variable(tf.range(100.0)), b=tf.Variable(tf.ones([8, 8]))).write(
            str(work / 'checkpoint' / 'ckpt')
        )
        (work / 'project').mkdir()
        made = project.make_project(work / 'project')
        made.run()

    pid = os.fork()
    if pid == 0:
        try:
            write()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, 'the templates could not be made'
    _templates.update(checkpoint=work / 'checkpoint', run=work / 'project')
