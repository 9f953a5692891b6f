from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

from stagetrain.config.options import DESCRIPTION_FILE

SCRIPT = pathlib.Path(__file__).parents[2] / 'scripts' / 'generate_model_garden_options.py'


@pytest.mark.slow
def test_the_description_is_that_of_the_installed_model_garden(tmp_path: pathlib.Path) -> None:
    """Made anew in a process of its own: which experiments are registered depends on what was imported."""
    described = tmp_path / 'described.json'
    subprocess.run([sys.executable, str(SCRIPT), str(described)], check=True, capture_output=True, timeout=300)
    assert json.loads(DESCRIPTION_FILE.read_text()) == json.loads(described.read_text())
