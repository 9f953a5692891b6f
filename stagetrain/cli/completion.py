"""`stagetrain completion`: a script by which a shell completes verbs, options, files and stages.

    source <(stagetrain completion bash)
    stagetrain run four_step.yaml --only=rp<TAB>

The script holds all names, for a shell must not wait for Python. Names of stages it reads from the pipeline file or run directory
in the line; those of a recipe or a base are not in the file and are not offered.
"""

from __future__ import annotations

import argparse
import collections
import pathlib
from collections.abc import Iterator
from typing import Any

from stagetrain.cli import command_line
from stagetrain.config import exporters, specs
from stagetrain.data.writers import WRITERS
from stagetrain.flags import FLAGS

_FUNCTIONS = {
    command_line.folder: 'folders',
    command_line.pipeline_file: 'pipeline_files',
    command_line.path_text: 'files',
    command_line.stage: 'stages',
    pathlib.Path: 'files',
}
"""Type of an argument -> what the script offers for it."""

_SCRIPT = r"""# Completes stagetrain in {program}: source <(stagetrain completion {program})
_stagetrain_stages() {{  # The names of the stages of what is named in the line.
    local each
    for each in "${{COMP_WORDS[@]:1}}"; do
        if [[ -d $each/stages ]]; then
            command ls -- "$each/stages"
        elif [[ $each == *.y*ml && -f $each ]]; then
            sed -n 's/^ *- *{{\{{0,1\}} *name: *\([A-Za-z0-9_-]*\).*/\1/p' "$each"
        fi
    done
}}
_stagetrain_find() {{  # Sets what to offer for the present word: files of a kind, or choices.
    local before="${{COMP_WORDS[COMP_CWORD-1]}}" verb='' options='' each
    if [[ $word == --*=* ]]; then  # A shell that does not take words apart at the equals sign.
        kept="${{word%%=*}}=" before="${{word%%=*}}" word="${{word#*=}}"
    elif [[ $word == '=' ]]; then
        word=''
    elif [[ $before == '=' ]]; then
        before="${{COMP_WORDS[COMP_CWORD-2]}}"
    fi
    for each in "${{COMP_WORDS[@]:1:$((COMP_CWORD - 1))}}"; do
        case "$verb $each" in
            {verbs}) verb="$verb $each" ;;
        esac
    done
    case "$verb" in
{cases}
    esac
    case "$verb $before" in
{values}
        *) if [[ $word == -* ]]; then offered='' choices="$options --helpfull {flags}"; fi ;;
    esac
    if [[ $offered == stages ]]; then
        offered='' choices="$(_stagetrain_stages)"
    fi
}}
{tail}"""
_BASH = r"""_stagetrain_files() {
    case $offered in
        folders) compgen -d -- "$word" ;;
        files) compgen -f -- "$word" ;;
        pipeline_files) compgen -d -- "$word"; compgen -f -X '!*.yaml' -- "$word"; compgen -f -X '!*.yml' -- "$word" ;;
        *) compgen -W "$choices" -- "$word" ;;
    esac
}
_stagetrain() {
    local word="${COMP_WORDS[COMP_CWORD]}" kept='' offered='' choices='' line
    _stagetrain_find
    if [[ -n $offered ]]; then compopt -o filenames 2>/dev/null; fi
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$kept$line")
    done < <(_stagetrain_files)
}
complete -F _stagetrain stagetrain
"""
_ZSH = r"""_stagetrain() {
    local -a COMP_WORDS
    COMP_WORDS=("${words[@]}")
    local COMP_CWORD=$((CURRENT - 1)) word="${words[CURRENT]}" kept='' offered='' choices=''
    () { emulate -L ksh; _stagetrain_find; }
    if [[ -n $kept ]]; then compset -P '*='; fi
    case $offered in
        folders) _files -/ ;;
        files) _files ;;
        pipeline_files) _files -g '*.y(a|)ml' ;;
        *) compadd -- ${=choices} ;;
    esac
}
(( $+functions[compdef] )) || { autoload -U +X compinit && compinit; }
compdef _stagetrain stagetrain
"""
_OF_FLAGS = """        *' --log_dir') offered=folders choices='' ;;
        *' --flagfile') offered=files choices='' ;;
        *' --stderrthreshold') offered='' choices='debug info warning error fatal' ;;
        *' -v'|*' --verbosity') offered='' choices='-1 0 1' ;;
        *' --logger_levels'|*' --undefok') offered='' choices='' ;;"""


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """Returns the script.

    Args:
      shell: `bash` or `zsh`.
      parser: the parser of the command line.
    """
    parsers = dict(_parsers('', parser))
    return _SCRIPT.format(
        program=shell,
        tail=_ZSH if shell == 'zsh' else _BASH,
        flags=' '.join(f'--{flag.name}' for flag in FLAGS.get_flags_for_module('absl.logging')),
        verbs='|'.join(f"'{path}'" for path in parsers if path),
        cases='\n'.join(_case(path, one) for path, one in parsers.items()),
        values='\n'.join([*(line for path, one in parsers.items() for line in _value_cases(path, one)), _OF_FLAGS]),
    )


def _parsers(path: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yields ' verb' or ' verb action', and for the whole '', with the parser."""
    yield path, parser
    for name, verb in command_line.verbs_of(parser).items():
        yield from _parsers(f'{path} {name}', verb)


def _case(path: str, parser: argparse.ArgumentParser) -> str:
    """Returns the branch that sets what may follow a verb: its options, and its actions or files."""
    options = ' '.join(option for action in _options(parser) for option in action.option_strings if option.startswith('--'))
    taken = [action for action in parser._actions if not action.option_strings]
    return f"        '{path}') options='{options}'{' ' + _offer(taken[-1]) if taken else ''} ;;"


def _value_cases(path: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yields a branch for the options of a verb that take the same kind of value; text of any kind is not completed."""
    patterns: dict[str, list[str]] = collections.defaultdict(list)
    for action in _options(parser):
        if action.nargs != 0:
            patterns[_offer(action)] += [f"'{path} {option}'" for option in action.option_strings]
    for offer, names in patterns.items():
        yield f'        {"|".join(names)}) {offer} ;;'


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Returns a verb's own options; flags of absl are the same for all."""
    return [action for action in parser._actions if action.option_strings and action.help != argparse.SUPPRESS]


def _offer(action: argparse.Action) -> str:
    """Returns the assignments that have the script offer what an argument takes."""
    kind: Any = action.type
    if kind in _FUNCTIONS:
        return f"offered={_FUNCTIONS[kind]} choices=''"
    names = {
        command_line.data_format: specs.formats,
        command_line.written_format: lambda: tuple(WRITERS),
        command_line.export_format: lambda: tuple(spec.name for spec in exporters.kinds()),
    }
    words = names[kind]() if kind in names else tuple(action.choices or ()) if kind is None else ()
    return f"offered='' choices='{' '.join(words)}'"
