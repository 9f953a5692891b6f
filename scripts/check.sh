#!/usr/bin/env bash
# All that a change must pass: ruff, mypy, and all tests. Arguments go to pytest.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$("$root/scripts/setup.sh")"
cd "$root"
"$python" -m ruff check .
"$python" -m ruff format --check .
"$python" -m mypy stagetrain
exec "$root/scripts/test.sh" "$@"
