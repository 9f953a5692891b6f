#!/usr/bin/env bash
# Sets up the environment and runs all tests, the slow ones too, in as many processes as there are cores; arguments go to pytest
# (`-n 0`: in one process, as a debugger needs it).
# Tests on BCCD and on ImageNet weights look for them in BCCD and WEIGHTS, or in ../shared beside the clone.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$("$root/scripts/setup.sh")"
shared="$root/../shared"
if [[ -z "${BCCD:-}" && -d "$shared/data/bccd" ]]; then
  BCCD="$(cd "$shared/data/bccd" && pwd)"
  export BCCD
fi
if [[ -z "${WEIGHTS:-}" && -d "$shared/weights" ]]; then
  WEIGHTS="$(cd "$shared/weights" && pwd)"
  export WEIGHTS
fi
cd "$root"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m pytest --numprocesses=auto --dist=loadfile "$@"
