"""The verb `import-tfod`: a `pipeline.config` of the Object Detection API becomes a pipeline file and a report."""

from __future__ import annotations

import functools
import pathlib
import shlex

import rich.console

from stagetrain import outputs
from stagetrain.bridges.tfod import importing, report
from stagetrain.bridges.tfod.importing import PIPELINE, REPORT


def import_tfod(config: pathlib.Path, out: pathlib.Path, choices: importing.Choices, console: rich.console.Console) -> None:
    """Writes `pipeline.yaml` and `report.md` into a folder, and prints what a person has to know.

    Args:
      config: the `pipeline.config`.
      out: the folder; one of an earlier import is replaced where nobody has changed it.
      choices: what the file does not tell.
      console: where to.

    Raises:
      BadInput: the file cannot be imported, or nothing can be written.
    """
    place = outputs.whole_folder('--out', out, REPORT)
    imported = importing.import_file(config, choices)

    outputs.write_folder('--out', place, functools.partial(importing.write, imported))
    for remark in imported.remarks:
        console.print(remark, highlight=False, soft_wrap=True)
    console.print(
        f'{report.summary(imported.entries, imported.num_unknown)}; each is in {out / REPORT}', highlight=False, soft_wrap=True
    )
    command = ' '.join(['stagetrain check', shlex.quote(str(out / PIPELINE)), *imported.set_lines])
    console.print(f'{out / PIPELINE}: written. Next:', highlight=False, soft_wrap=True)
    console.print(f'  {command}', highlight=False, soft_wrap=True)
