"""`stagetrain verify`: derives again what a run directory claims."""

from __future__ import annotations

import rich.console
import rich.text

from stagetrain.errors import EXIT_DONE, EXIT_FAILED
from stagetrain.pipeline import file_checks as files_of
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.workers import quiet


def verify(directory: RunDirectory, files_only: bool, console: rich.console.Console) -> int:
    """Prints what is wrong with a run directory and returns the exit code: 0 when nothing is.

    Args:
      directory: the run directory.
      files_only: leave out reading the tensors, which takes TensorFlow's seconds.
      console: where to print.

    Raises:
      RunDirectoryError: it is no run directory.
    """
    report = files_of.verify(directory)
    wrong, remarks = list(report.wrong), list(report.remarks)
    if not wrong and not files_only:
        tensors_wrong, tensors_remarks = _tensors(directory)
        wrong += tensors_wrong
        remarks += tensors_remarks
    for text in remarks:
        _say(console, f'  {text}')
    for text in wrong:
        _say(console, f'WRONG {text}')
    what = f'{report.num_files} files compared byte for byte, {report.num_variables} variables traced to their origins'
    _say(console, f'{directory.path}: {what}: {f"{len(wrong)} things are wrong" if wrong else "all as it was written"}')
    if wrong and not files_only:
        _say(console, 'The tensors themselves were read only as far as nothing else was wrong.')
    return EXIT_FAILED if wrong else EXIT_DONE


def _tensors(directory: RunDirectory) -> tuple[list[str], list[str]]:
    with quiet.computing():
        from stagetrain.weights import tensor_checks as tensors

        return tensors.faults(directory.path, {stage_id: entry.result for stage_id, entry in directory.lock().stages.items()})


def _say(console: rich.console.Console, text: str) -> None:
    console.print(rich.text.Text(text), soft_wrap=True)
