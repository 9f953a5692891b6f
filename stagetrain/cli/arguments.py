"""What each verb takes, without importing what it does.

options = command_line.parsed(parser(), ['run', 'four.yaml', '--only=rpn_1'], parser)
options.command, options.config, options.only      # 'run', Path('four.yaml'), 'rpn_1'
"""

from __future__ import annotations

import argparse
import pathlib
from typing import TYPE_CHECKING

import stagetrain
from stagetrain.cli import data_arguments
from stagetrain.cli.command_line import Parser, add_verb, export_format, folder, path_text, pipeline_file, stage
from stagetrain.errors import ConfigError

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Parser]


def parser() -> Parser:
    """Returns the parser of the whole command line, with the flags that are defined at this moment."""
    whole = Parser(prog='stagetrain', description='Trains object detectors in stages described by a YAML file.')
    whole.add_argument('--version', action=_Version, nargs=0, help='show the versions that decide numbers, and exit')
    verbs = whole.add_subparsers(dest='command', required=True, metavar='VERB')
    _add_pipeline_verbs(verbs)
    _add_run_verbs(verbs)
    data = add_verb(verbs, 'data', 'check a data set, or convert it into another format', 'data check images/ --format=voc')
    data_arguments.add_arguments(data)
    _add_weights(verbs)
    _add_import_tfod(verbs)
    add_verb(verbs, 'schema', 'print the JSON Schema of the pipeline file', 'schema > schema.json')
    text = 'print a script that completes verbs, options, files and stages in a shell'
    completion = add_verb(verbs, 'completion', text, 'completion bash > ~/.local/share/bash-completion/completions/stagetrain')
    completion.add_argument('shell', choices=['bash', 'zsh'], help='source the script, or store it where the shell looks')
    return whole


def _add_pipeline_verbs(verbs: Verbs) -> None:
    """Adds the verbs that take a pipeline file."""
    text = 'run the stages that are not up to date; the same command resumes an interrupted run'
    run = add_verb(verbs, 'run', text, 'run four_step.yaml --run_dir=runs/mine --set stages.rpn_1.train.steps=50')
    _add_config(run)
    _add_selection(run)
    _add_in_process(run)
    plan = add_verb(verbs, 'plan', 'show what would run and why', 'plan four_step.yaml --until=detector_1')
    _add_config(plan)
    _add_selection(plan)
    text = 'build the model and list every variable: origin, trained or frozen'
    plan.add_argument('--variables', action='store_true', help=text)
    text = 'print the pipeline file with recipes, bases and overrides written out'
    plan.add_argument('--expand', action='store_true', help=text)
    _add_equal(plan)
    plan.add_argument('--cost', action='store_true', help='measure some steps of every stage on noise and estimate its time')
    _add_config(add_verb(verbs, 'check', 'check a pipeline file', 'check four_step.yaml'))
    text = 'run a pipeline and its variants, or take finished runs, and compare them'
    compare = add_verb(verbs, 'compare', text, 'compare four_step.yaml --equal=time --seeds=3')
    text = 'one pipeline file, or run directories'
    compare.add_argument('paths', type=pipeline_file, nargs='+', metavar='CONFIG | RUN_DIR', help=text)
    _add_run_dir_and_set(compare)
    _add_equal(compare)
    compare.add_argument('--seeds', type=_positive, default=1, help='run with so many seeds; the table shows mean and deviation')
    _add_in_process(compare)
    text = 'train a stage once without and once with a SIGKILL on the way, and compare every bit'
    resume = add_verb(verbs, 'verify-resume', text, 'verify-resume four_step.yaml --stage=rpn_1 --at=20')
    _add_config(resume)
    resume.add_argument('--stage', type=stage, required=True, help='the stage; those before it are trained first')
    resume.add_argument('--at', type=_positive, required=True, metavar='STEP', help='its process is killed after this step')


def _add_run_verbs(verbs: Verbs) -> None:
    """Adds the verbs that take a run directory."""
    status = add_verb(verbs, 'status', 'show which stages are done, partial, stale or missing', 'status runs/mine')
    _add_run_dir(status)
    text = 'evaluate finished stages on the validation set, or one on any data set'
    evaluate = add_verb(verbs, 'eval', text, 'eval runs/mine --data test/ --format=coco --json=metrics.json')
    _add_run_dir(evaluate)
    evaluate.add_argument('--stage', type=stage, help='this stage only')
    data_arguments.add_evaluated_data(evaluate)
    _add_in_process(evaluate)
    detect = add_verb(verbs, 'detect', 'draw detections on images', "detect runs/mine 'images/**/*.jpg' --out=pictures")
    _add_run_dir(detect)
    text = 'a file, a folder with all in it, or a pattern in quotes; ** is any folders'
    detect.add_argument('images', type=path_text, nargs='+', metavar='IMAGE', help=text)
    detect.add_argument('--out', type=folder, required=True, help='folder for the pictures and the COCO JSON')
    text = 'COCO JSON whose image and category ids the detections get'
    detect.add_argument('--annotations', type=pathlib.Path, metavar='FILE', help=text)
    _add_chosen_stage(detect)
    text = "write a finished stage's network in a form that other programs read"
    export = add_verb(verbs, 'export', text, 'export runs/mine --format=saved_model --out=exported')
    _add_run_dir(export)
    text = 'a registered format: saved_model, ... (docs/export.md)'
    export.add_argument('--format', type=export_format, required=True, metavar='NAME', help=text)
    export.add_argument('--out', type=folder, required=True, help='folder to make; an earlier export there is replaced')
    _add_chosen_stage(export)
    _add_set(export, 'KEY=VALUE', 'option of the format; repeatable')
    text = 'derive again what a run directory claims; exit code 1 and a list when something is wrong'
    verify = add_verb(verbs, 'verify', text, 'verify runs/mine --files_only')
    _add_run_dir(verify)
    verify.add_argument('--files_only', action='store_true', help='compare files and digests, without reading the tensors')
    clean = add_verb(verbs, 'clean', 'remove stores that no stage needs, and what a crash left half-written', 'clean runs/mine')
    _add_run_dir(clean)


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


def _add_weights(verbs: Verbs) -> None:
    text = 'show what is in a weight file, or what differs between two'
    weights = add_verb(verbs, 'weights', text, 'weights diff runs/mine/stages/rpn_1 runs/mine/stages/rpn_2')
    actions = weights.add_subparsers(dest='action', required=True)
    what = 'a Keras file, a checkpoint, a SavedModel, RUN_DIR, or RUN_DIR/stages/NAME'
    show = add_verb(actions, 'show', 'list names, shapes and values', "weights show runs/mine --scope='backbone/.*'")
    show.add_argument('file', type=pathlib.Path, metavar='FILE', help=what)
    show.add_argument('--scope', default='.*', help='a regular expression that must match a whole name')
    text = 'list what changed from A to B, by how much, by variable and module'
    diff = add_verb(actions, 'diff', text, 'weights diff imagenet.h5 runs/mine/stages/rpn_1 --module=backbone')
    diff.add_argument('a', type=pathlib.Path, metavar='A', help=what)
    diff.add_argument('b', type=pathlib.Path, metavar='B', help='the same')
    diff.add_argument('--module', help="this module only; it is left off names, so that a backbone's own file can be compared")


def _add_import_tfod(verbs: Verbs) -> None:
    text = 'make a pipeline file of a pipeline.config of the TensorFlow Object Detection API'
    tfod = add_verb(verbs, 'import-tfod', text, 'import-tfod pipeline.config --out=imported')
    tfod.add_argument('config', type=pathlib.Path, metavar='CONFIG', help='the pipeline.config, as text or JSON')
    tfod.add_argument('--out', type=folder, required=True, metavar='DIR', help='folder for pipeline.yaml and report.md')
    rules = ['train', 'model_main', 'tf2']
    text = 'the trainer whose reading of freeze_variables is meant; default: model_main'
    tfod.add_argument('--freeze_rule', choices=rules, default='model_main', help=text)
    text = 'write freeze patterns that hit nothing as comments; else an error'
    tfod.add_argument('--allow_unmatched', action='store_true', help=text)
    text = 'a backbone in place of a feature extractor that is not here, e.g. keras_resnet101'
    tfod.add_argument('--backbone', metavar='TYPE', help=text)
    tfod.add_argument('--recipe', choices=['four_step'], help='the one training as the stages of a recipe')


def _add_config(verb: Parser) -> None:
    verb.add_argument('config', type=pipeline_file, metavar='CONFIG', help='the pipeline file')
    _add_run_dir_and_set(verb)


def _add_run_dir_and_set(verb: Parser) -> None:
    verb.add_argument('--run_dir', type=folder, help='where everything is written; default: runs/<name of CONFIG>')
    _add_set(verb, 'PATH=VALUE', 'override, e.g. stages.rpn_1.train.steps=50; repeatable')


def _add_set(verb: Parser, metavar: str, text: str) -> None:
    verb.add_argument('--set', dest='overrides', action='append', default=[], metavar=metavar, help=text)


def _add_run_dir(verb: Parser) -> None:
    verb.add_argument('run_dir', type=folder, metavar='RUN_DIR', help='the run directory')


def _add_chosen_stage(verb: Parser) -> None:
    verb.add_argument('--stage', type=stage, help="the stage whose checkpoint is used; the pipeline's last by default")


def _add_selection(verb: Parser) -> None:
    verb.add_argument('--only', type=stage, metavar='STAGE', help='this stage alone; what it starts from must be up to date')
    verb.add_argument('--from', dest='from_', type=stage, metavar='STAGE', help='this stage and those after it')
    verb.add_argument('--until', type=stage, metavar='STAGE', help='this stage and those before it')
    text = 'start this stage again; repeatable'
    verb.add_argument('--force', type=stage, action='append', default=[], metavar='STAGE', help=text)
    text = 'continue this stage though its schedule changed; repeatable'
    verb.add_argument('--extend', type=stage, action='append', default=[], metavar='STAGE', help=text)


def _add_equal(verb: Parser) -> None:
    text = 'make each variant as long as the pipeline: all its own stages times one factor; time is that of this machine'
    verb.add_argument('--equal', choices=('time', 'steps', 'images'), help=text)


def _add_in_process(verb: Parser) -> None:
    text = 'train in this process, for debuggers; memory grows with every stage'
    verb.add_argument('--in_process', action='store_true', help=text)


def _positive(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"found '{text}'; expected a whole number above 0")
    return number
