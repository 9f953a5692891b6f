#!/usr/bin/env bash
# Makes the environment .venv with the pinned versions of constraints.txt and stagetrain itself, and prints its interpreter.
# Does nothing when that is up to date. STAGETRAIN_VENV names an existing environment to use as it is; PYTHON names the
# interpreter that .venv is made with (default: the first of python3.11, python3.12, python3).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
needed='("tensorflow", "official", "tf_keras", "pydantic", "pytest", "xdist")'

fail() {
  echo "scripts/setup.sh: $*" >&2
  exit 2
}

if [[ -n "${STAGETRAIN_VENV:-}" ]]; then
  python="$STAGETRAIN_VENV/bin/python"
  [[ -x "$python" ]] || fail "STAGETRAIN_VENV=$STAGETRAIN_VENV: no bin/python there; unset it to have .venv made"
  missing="$("$python" -c "import importlib.util as u; print(*(name for name in $needed if not u.find_spec(name)))")"
  [[ -z "$missing" ]] || fail "STAGETRAIN_VENV=$STAGETRAIN_VENV: lacks $missing; unset it to have .venv made"
  echo "$python"
  exit 0
fi

venv="$root/.venv"
stamp="$venv/stagetrain.stamp"
# The root counts too: a moved environment finds neither its interpreter nor the package.
wanted="$(echo "$root" | cat - "$root/constraints.txt" "$root/pyproject.toml" | sha256sum | cut -d ' ' -f 1)"
if [[ ! -f "$stamp" || "$(cat "$stamp")" != "$wanted" ]]; then
  base="${PYTHON:-$(command -v python3.11 || command -v python3.12 || command -v python3 || true)}"
  [[ -n "$base" ]] || fail 'no python3 found; expected Python 3.11 or 3.12, or PYTHON=/path/to/it'
  "$base" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
    || fail "$base is $("$base" --version); the pinned versions need Python 3.11 or 3.12: set PYTHON=/path/to/it"
  echo "scripts/setup.sh: installing into $venv; this takes some minutes" >&2
  rm -f "$stamp"
  "$base" -m venv "$venv" >&2
  "$venv/bin/python" -m pip install --disable-pip-version-check --quiet \
    --constraint "$root/constraints.txt" --editable "$root[dev]" >&2
  echo "$wanted" >"$stamp"
fi
echo "$venv/bin/python"
