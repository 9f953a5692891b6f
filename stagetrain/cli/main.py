"""The command line: one short function per verb.

    stagetrain run configs/demo/four_step.yaml --run_dir=runs/demo

Exit codes: 0 done, 1 failed, 2 bad input, 130 interrupted. Verbs that do not compute never import TensorFlow.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

import rich.console

from stagetrain import flags, logs, standard_error
from stagetrain.cli import arguments as arguments_of
from stagetrain.cli import command_line, streams
from stagetrain.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_INTERRUPTED, ConfigError, StagetrainError
from stagetrain.workers import quiet

# Each verb imports what it needs itself: `schema` needs no data room, `status` no network, and both must answer at once.


def main(arguments: Sequence[str] | None = None) -> int:
    """Carries out one command and returns its exit code. Unexpected exceptions keep their traceback.

    Args:
      arguments: the words of the command; those of this process when None, which then ends with the exit code.
    """
    streams.escape_what_does_not_fit()
    if not sys.warnoptions:  # Neither `python -W` nor PYTHONWARNINGS asks for them.
        warnings.simplefilter('ignore')  # Of libraries, about what no user of theirs can change; logs hold them.
    words = sys.argv[1:] if arguments is None else arguments
    whole = arguments_of.parser()
    with flags.of_command(command_line.options_of(whole)), logs.of_process(_show_log):
        try:
            options = command_line.parsed(whole, words, arguments_of.parser)
        except KeyboardInterrupt:  # While a plugin was imported.
            return EXIT_INTERRUPTED
        return _main(options, is_process=arguments is None)


def _show_log(line: str) -> None:
    standard_error.write(streams.harmless(line))


def _main(options: argparse.Namespace, is_process: bool) -> int:
    # Before and behind the stages, which have handlers of their own.
    former = {number: signal.signal(number, handler) for number, handler in _HANDLERS.items()}
    try:
        return _carry_out(options)
    except KeyboardInterrupt:
        print(f'stagetrain {options.command}: interrupted', file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        for number, handler in former.items():
            # The interpreter gives signals back to the system while it ends: one more would kill it, and its exit code be lost.
            signal.signal(number, signal.SIG_IGN if is_process else handler)


_OF_THE_PLACE = {
    errno.ENAMETOOLONG: 'no disk has a name as long as this; expected parts of at most 255 bytes, 4,095 in all',
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENOSPC, errno.EDQUOT)),
}
"""What a path that a person named, or the disk below it, does not allow; verbs explain it better where they expect it."""


def _carry_out(options: argparse.Namespace) -> int:
    try:
        logs.keep_in_log_dir('stagetrain')
        return _VERBS[options.command](options, streams.console())
    except StagetrainError as error:
        streams.say(f'stagetrain {options.command}: {error}')
        return error.exit_code
    except BrokenPipeError:  # `stagetrain plan ... | head`: the reader has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except OSError as error:
        text = _of_the_place(error)
        if text is None:
            raise
        streams.say(f'stagetrain {options.command}: {text}')
        return EXIT_BAD_INPUT


def _of_the_place(error: OSError) -> str | None:
    """Returns what a path or a disk does not allow, in words; None for an error of another kind."""
    if error.errno in _OF_THE_PLACE:
        return f'{error.filename or "a file"}: {_OF_THE_PLACE[error.errno] or error.strerror}'
    try:
        os.getcwd()
    except FileNotFoundError:
        return 'the working directory is gone, and paths start from it; change to one that is there'
    return None


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ends a verb by the first Ctrl-C; a second one ends the process, for it may come while the first one is told."""
    del number, frame
    signal.signal(signal.SIGINT, _end_at_once)
    raise KeyboardInterrupt


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """Ends the process at once, for all that is written survives that; an exception would break imports of native modules."""
    del frame
    with contextlib.suppress(OSError, ValueError):
        message = f'stagetrain: ended by {signal.Signals(number).name}; what was saved before is intact\n'
        os.write(standard_error.fileno(), message.encode())
    os._exit(EXIT_INTERRUPTED)


_HANDLERS = {signal.SIGTERM: _end_at_once, signal.SIGINT: _interrupt}


def _run(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.cli import prepare, run

    loaded = prepare.checked(options.config, options.overrides)
    directory = prepare.run_directory(options.run_dir, options.config)
    return run.run(loaded, directory, prepare.selection(options), options.in_process, console)


def _plan(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.cli import plan, prepare
    from stagetrain.config import load

    loaded = prepare.checked(options.config, options.overrides)
    directory = prepare.run_directory(options.run_dir, options.config)
    if options.expand:
        loaded = prepare.with_lengths(loaded, directory, options)
        print(streams.fitting(lambda allow_unicode: load.dump_resolved(loaded, allow_unicode=allow_unicode)), end='')
        return EXIT_DONE
    planned = prepare.planned(loaded, directory, prepare.selection(options), options.equal)
    plan.show(planned, console)
    tables = []
    with quiet.computing(directory.log('plan')) if options.variables or options.cost else contextlib.nullcontext():
        if options.variables:
            from stagetrain.training import variables

            tables.append(variables.variable_table(planned.loaded.pipeline))
        if options.cost:
            from stagetrain.training import cost

            tables.append(cost.probe(planned.loaded.pipeline, {stage.id: stage.num_steps for stage in planned.stages}))
    for rows in tables:
        plan.show_table(rows, console)
    return EXIT_DONE


def _check(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.cli import prepare

    loaded = prepare.checked(options.config, options.overrides)
    console.print(f'{options.config}: correct; {len(loaded.pipeline.stages)} stages', highlight=False, soft_wrap=True)
    return EXIT_DONE


def _status(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.cli import status
    from stagetrain.pipeline.rundir import RunDirectory

    status.status(RunDirectory(options.run_dir), console)
    return EXIT_DONE


def _compare(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.cli import prepare, run

    if all(run.is_run_directory(path) for path in options.paths):
        if options.seeds != 1 or options.overrides or options.run_dir or options.equal:
            raise ConfigError(
                '--seeds, --equal, --set and --run_dir: these go with a pipeline file; run directories are compared as they are'
            )
        return run.compare_runs(options.paths, console)
    if len(options.paths) > 1:
        files = ', '.join(str(path) for path in options.paths if not run.is_run_directory(path))
        raise ConfigError(f'{files}: not a run directory; expected one pipeline file, or run directories only')
    config = options.paths[0]
    directory = prepare.run_directory(options.run_dir, config)
    return run.compare_config(
        config,
        directory,
        overrides=options.overrides,
        seeds=options.seeds,
        equal=options.equal,
        in_process=options.in_process,
        console=console,
    )


def _eval(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.cli import evaluate
    from stagetrain.pipeline.rundir import RunDirectory

    directory = RunDirectory(options.run_dir)
    if options.data is None:
        given = {'--' + name: getattr(options, name) for name in ('split', 'images', 'class_file', 'masks', 'json')}
        if any(given.values()):
            raise ConfigError(f'{", ".join(name for name, value in given.items() if value)}: these go with --data PATH')
        return evaluate.evaluate(directory, options.stage, options.in_process, console)
    from stagetrain.config.schema import DataSource

    named = {name: getattr(options, name) for name in ('format', 'split', 'images', 'class_file', 'masks')}
    source = DataSource(path=options.data, **named)
    return evaluate.evaluate_on(directory, options.stage, source, options.json, console)


def _detect(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.inference import request
    from stagetrain.pipeline.rundir import RunDirectory

    directory = RunDirectory(options.run_dir)
    directory.require()
    made = request.make(options.run_dir, options.stage, options.images, options.out, options.annotations)
    for remark in made.remarks:
        console.print(remark, highlight=False, soft_wrap=True)
    with quiet.computing(directory.log('detect')):
        from stagetrain.inference import detect

        pictures = detect.carry_out(made)
    console.print(f'Detections on {len(pictures)} images are in {options.out}', highlight=False, soft_wrap=True)
    return EXIT_DONE


def _export(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.inference import export
    from stagetrain.pipeline.rundir import RunDirectory

    directory = RunDirectory(options.run_dir)
    directory.require()
    asked = export.make(options.run_dir, options.format, options.out, options.stage, options.overrides)
    with quiet.computing(directory.log('export')):
        export.carry_out(asked)
    console.print(f'{asked.chosen.stage_id} is in {options.out}, as {asked.spec.name}', highlight=False, soft_wrap=True)
    return EXIT_DONE


def _verify(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.cli import verify
    from stagetrain.pipeline.rundir import RunDirectory

    return verify.verify(RunDirectory(options.run_dir), options.files_only, console)


def _data(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.cli import data

    return data.check(options, console) if options.action == 'check' else data.convert_data(options, console)


def _import_tfod(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.bridges.tfod.importing import Choices
    from stagetrain.cli import import_tfod

    choices = Choices(options.freeze_rule, options.allow_unmatched, options.backbone, options.recipe)
    import_tfod.import_tfod(options.config, options.out, choices, console)
    return EXIT_DONE


def _weights(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.cli import weights

    if options.action == 'show':
        weights.show(options.file, options.scope, console)
    else:
        weights.compare(options.a, options.b, options.module, console)
    return EXIT_DONE


def _verify_resume(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.cli import prepare, verify_resume

    usual = prepare.run_directory(options.run_dir, options.config).path
    return verify_resume.verify_resume(
        options.config,
        options.stage,
        options.at,
        overrides=options.overrides,
        folder=options.run_dir or usual.with_name(f'{usual.name}.verify-resume'),
        console=console,
    )


def _schema(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.config.schema import json_schema

    del options, console
    print(json.dumps(json_schema(), indent=1))
    return EXIT_DONE


def _clean(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.cli import clean
    from stagetrain.pipeline.rundir import RunDirectory

    clean.clean(RunDirectory(options.run_dir), console)
    return EXIT_DONE


def _completion(options: argparse.Namespace, console: rich.console.Console) -> int:
    from stagetrain.cli import completion

    del console
    print(completion.script(options.shell, arguments_of.parser()), end='')
    return EXIT_DONE


_VERBS: Mapping[str, Callable[[argparse.Namespace, rich.console.Console], int]] = {
    'run': _run,
    'plan': _plan,
    'check': _check,
    'status': _status,
    'compare': _compare,
    'eval': _eval,
    'detect': _detect,
    'export': _export,
    'verify': _verify,
    'data': _data,
    'weights': _weights,
    'import-tfod': _import_tfod,
    'verify-resume': _verify_resume,
    'schema': _schema,
    'clean': _clean,
    'completion': _completion,
}


if __name__ == '__main__':
    sys.exit(main())
