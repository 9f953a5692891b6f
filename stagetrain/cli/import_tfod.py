"""The verb `import-tfod`: a `pipeline.config` of the Object Detection API becomes a pipeline file and a report."""

from __future__ import annotations

import pathlib
import shlex

import rich.console

from stagetrain import outputs
from stagetrain.bridges.tfod import importing, report
from stagetrain.config import load
from stagetrain.config.check import check_pipeline

PIPELINE, REPORT = 'pipeline.yaml', 'report.md'


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

    def write(folder: pathlib.Path) -> None:
        (folder / PIPELINE).write_text(imported.pipeline, encoding='utf-8')
        (folder / REPORT).write_text(imported.report, encoding='utf-8')
        check_pipeline(load.load_pipeline(folder / PIPELINE))

    outputs.write_folder('--out', place, write)
    for remark in imported.remarks:
        console.print(remark, highlight=False, soft_wrap=True)
    console.print(
        f'{report.summary(imported.entries, imported.num_unknown)}; each is in {out / REPORT}', highlight=False, soft_wrap=True
    )
    command = ' '.join(['stagetrain check', shlex.quote(str(out / PIPELINE)), *imported.set_lines])
    console.print(f'{out / PIPELINE}: written. Next:', highlight=False, soft_wrap=True)
    console.print(f'  {command}', highlight=False, soft_wrap=True)
