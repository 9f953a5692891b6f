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
import pathlib
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from types import FrameType

import rich.console

import stagetrain
from stagetrain import flags, logs, standard_error
from stagetrain.cli import command_line, data_arguments, streams
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
    with flags.of_command(command_line.options_of(_parser())), logs.of_process(_show_log):
        return _main(command_line.parsed(_parser, words), is_process=arguments is None)


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
    verb: Callable[[argparse.Namespace, rich.console.Console], int] = options.verb
    try:
        logs.keep_in_log_dir('stagetrain')
        return verb(options, streams.console())
    except StagetrainError as error:
        streams.say(f'stagetrain {options.command}: {error}')
        return error.exit_code
    except BrokenPipeError:  # `stagetrain plan ... | head`: the reader has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_DONE
    except OSError as error:
        if error.errno not in _OF_THE_PLACE:
            raise
        text = _OF_THE_PLACE[error.errno] or error.strerror
        streams.say(f'stagetrain {options.command}: {error.filename or "a file"}: {text}')
        return EXIT_BAD_INPUT


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
    if options.expand:
        print(streams.fitting(lambda allow_unicode: load.dump_resolved(loaded, allow_unicode=allow_unicode)), end='')
        return EXIT_DONE
    directory = prepare.run_directory(options.run_dir, options.config)
    planned = prepare.planned(loaded, directory, prepare.selection(options))
    plan.show(planned, console)
    tables = []
    with quiet.computing(directory.log('plan')) if options.variables or options.cost else contextlib.nullcontext():
        if options.variables:
            from stagetrain.training import variables

            tables.append(variables.variable_table(loaded.pipeline))
        if options.cost:
            from stagetrain.training import cost

            tables.append(cost.probe(loaded.pipeline, {stage.id: stage.num_steps for stage in planned.stages}))
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
        if options.seeds != 1 or options.overrides or options.run_dir:
            raise ConfigError(
                '--seeds, --set and --run_dir: these go with a pipeline file; run directories are compared as they are'
            )
        return run.compare_runs(options.paths, console)
    if len(options.paths) > 1:
        files = ', '.join(str(path) for path in options.paths if not run.is_run_directory(path))
        raise ConfigError(f'{files}: not a run directory; expected one pipeline file, or run directories only')
    config = options.paths[0]
    directory = prepare.run_directory(options.run_dir, config)
    return run.compare_config(
        config, directory, overrides=options.overrides, seeds=options.seeds, in_process=options.in_process, console=console
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


def _parser() -> command_line.Parser:
    parser = command_line.Parser(prog='stagetrain', description='Trains object detectors in stages described by a YAML file.')
    parser.add_argument('--version', action=_Version, nargs=0, help='show the versions that decide numbers, and exit')
    verbs = parser.add_subparsers(dest='command', required=True, metavar='VERB')
    run = _verb(verbs, 'run', _run, 'run the stages that are not up to date; an interrupted run goes on')
    _add_config(run)
    _add_selection(run)
    _add_in_process(run)
    plan = _verb(verbs, 'plan', _plan, 'show what would run and why')
    _add_config(plan)
    _add_selection(plan)
    plan.add_argument(
        '--variables', action='store_true', help='build the model and list every variable: origin, trained or frozen'
    )
    plan.add_argument(
        '--expand', action='store_true', help='print the pipeline file with recipes, bases and overrides written out'
    )
    plan.add_argument('--cost', action='store_true', help='measure some steps of every stage on noise and estimate its time')
    _add_config(_verb(verbs, 'check', _check, 'check a pipeline file'))
    status = _verb(verbs, 'status', _status, 'show what became of every stage')
    status.add_argument('run_dir', type=pathlib.Path)
    compare = _verb(verbs, 'compare', _compare, 'run a pipeline and its variants, or take finished runs, and compare them')
    compare.add_argument(
        'paths', type=pathlib.Path, nargs='+', metavar='CONFIG | RUN_DIR', help='one pipeline file, or run directories'
    )
    _add_run_dir_and_set(compare)
    compare.add_argument('--seeds', type=_positive, default=1, help='run with so many seeds; the table shows mean and deviation')
    _add_in_process(compare)
    evaluate = _verb(verbs, 'eval', _eval, 'evaluate finished stages on the validation set, or one on any data set')
    evaluate.add_argument('run_dir', type=pathlib.Path)
    evaluate.add_argument('--stage', help='this stage only')
    data_arguments.add_evaluated_data(evaluate)
    _add_in_process(evaluate)
    detect = _verb(verbs, 'detect', _detect, 'draw detections on images')
    detect.add_argument('run_dir', type=pathlib.Path)
    detect.add_argument(
        'images', nargs='+', metavar='IMAGE', help='a file, a folder with all in it, or a pattern in quotes; ** is any folders'
    )
    detect.add_argument('--out', type=pathlib.Path, required=True, help='folder for the pictures and the COCO JSON')
    detect.add_argument(
        '--annotations', type=pathlib.Path, metavar='FILE', help='COCO JSON whose image and category ids the detections get'
    )
    detect.add_argument('--stage', help="the stage whose checkpoint is used; the pipeline's last by default")
    _add_export(verbs)
    verify = _verb(
        verbs, 'verify', _verify, 'derive again what a run directory claims; exit code 1 and a list when something is wrong'
    )
    verify.add_argument('run_dir', type=pathlib.Path)
    verify.add_argument('--files_only', action='store_true', help='compare files and digests, without reading the tensors')
    data_arguments.add_arguments(_verb(verbs, 'data', _data, 'check a data set, or convert it into another format'))
    _add_weights(verbs)
    _add_import_tfod(verbs)
    resume = _verb(
        verbs, 'verify-resume', _verify_resume, 'train a stage straight and with a SIGKILL on the way, and compare every bit'
    )
    _add_config(resume)
    resume.add_argument('--stage', required=True, help='the stage; those before it are trained first')
    resume.add_argument('--at', type=_positive, required=True, metavar='STEP', help='its child is killed behind this step')
    _verb(verbs, 'schema', _schema, 'print the JSON Schema of the pipeline file')
    clean = _verb(verbs, 'clean', _clean, 'remove stores that no stage needs, and what a crash left half-written')
    clean.add_argument('run_dir', type=pathlib.Path)
    return parser


class _Version(argparse.Action):
    """Shows the versions of this package and of those that a stage's fingerprint holds."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from stagetrain.config.versions import package_versions

        try:
            others = ', '.join(f'{package} {version}' for package, version in package_versions().items())
        except ConfigError as error:
            parser.exit(error.exit_code, f'stagetrain --version: {error}\n')
        print(f'stagetrain {stagetrain.__version__} ({others})')
        parser.exit()


def _add_import_tfod(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = 'make a pipeline file of a pipeline.config of the TensorFlow Object Detection API'
    tfod = _verb(verbs, 'import-tfod', _import_tfod, text)
    tfod.add_argument('config', type=pathlib.Path, metavar='CONFIG', help='the pipeline.config, as text or JSON')
    tfod.add_argument('--out', type=pathlib.Path, required=True, metavar='DIR', help='folder for pipeline.yaml and report.md')
    tfod.add_argument(
        '--freeze_rule',
        choices=['train', 'model_main', 'tf2'],
        default='model_main',
        help='the trainer whose reading of freeze_variables is meant; default: model_main',
    )
    tfod.add_argument(
        '--allow_unmatched', action='store_true', help='write freeze patterns that hit nothing as comments; else an error'
    )
    tfod.add_argument(
        '--backbone', metavar='TYPE', help='a backbone in place of a feature extractor that is not here, e.g. keras_resnet101'
    )
    tfod.add_argument('--recipe', choices=['four_step'], help='the one training as the stages of a recipe')


def _add_weights(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    weights = _verb(verbs, 'weights', _weights, 'show what is in a weight file, or what differs between two')
    actions = weights.add_subparsers(dest='action', required=True, metavar='ACTION')
    what = 'a Keras file, a checkpoint, a SavedModel, RUN_DIR, or RUN_DIR/stages/NAME'
    show = actions.add_parser('show', help='list names, shapes and values', allow_abbrev=False)
    show.add_argument('file', type=pathlib.Path, metavar='FILE', help=what)
    show.add_argument('--scope', default='.*', help='a regular expression that must match a whole name')
    diff = actions.add_parser('diff', help='what changed from A to B, by how much, by variable and module', allow_abbrev=False)
    diff.add_argument('a', type=pathlib.Path, metavar='A', help=what)
    diff.add_argument('b', type=pathlib.Path, metavar='B')
    diff.add_argument('--module', help="this module only; it is left off names, so that a backbone's own file can be compared")


def _add_export(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    export = _verb(verbs, 'export', _export, "write a finished stage's network in a form that other programs read")
    export.add_argument('run_dir', type=pathlib.Path)
    export.add_argument('--format', required=True, metavar='NAME', help='a registered format: saved_model, ... (docs/export.md)')
    export.add_argument('--out', type=pathlib.Path, required=True, help='folder to make; an earlier export there is replaced')
    export.add_argument('--stage', help="the stage whose checkpoint is used; the pipeline's last by default")
    export.add_argument(
        '--set', dest='overrides', action='append', default=[], metavar='KEY=VALUE', help='option of the format; repeatable'
    )


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    function: Callable[[argparse.Namespace, rich.console.Console], int],
    text: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=text, description=f'{text[0].upper()}{text[1:]}.', allow_abbrev=False
    )
    parser.set_defaults(verb=function)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', type=pathlib.Path, metavar='CONFIG', help='the pipeline file')
    _add_run_dir_and_set(parser)


def _add_run_dir_and_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--run_dir', type=pathlib.Path, help='where everything is written; default: runs/<name of CONFIG>')
    parser.add_argument(
        '--set',
        dest='overrides',
        action='append',
        default=[],
        metavar='PATH=VALUE',
        help='override, e.g. stages.rpn_1.train.steps=50',
    )


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--only', metavar='STAGE', help='this stage alone; what it starts from must be up to date')
    parser.add_argument('--from', dest='from_', metavar='STAGE', help='this stage and those behind it')
    parser.add_argument('--until', metavar='STAGE', help='this stage and those before it')
    parser.add_argument('--force', action='append', default=[], metavar='STAGE', help='start this stage again; repeatable')
    parser.add_argument(
        '--extend',
        action='append',
        default=[],
        metavar='STAGE',
        help='go on with this stage though its schedule changed; repeatable',
    )


def _add_in_process(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--in_process', action='store_true', help='train in this process, for debuggers; memory grows with every stage'
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


if __name__ == '__main__':
    sys.exit(main())
