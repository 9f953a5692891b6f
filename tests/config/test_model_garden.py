from __future__ import annotations

import importlib.util
import json
import pathlib

import pytest

from stagetrain.config.options import DESCRIPTION_FILE

SCRIPT = pathlib.Path(__file__).parents[2] / 'scripts' / 'generate_model_garden_options.py'


@pytest.mark.slow
def test_the_description_is_that_of_the_installed_model_garden() -> None:
    """Made anew by `python scripts/generate_model_garden_options.py`."""
    spec = importlib.util.spec_from_file_location('generate_model_garden_options', SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    described = json.dumps(script.describe(), default=lambda config: config.as_dict())
    assert json.loads(DESCRIPTION_FILE.read_text()) == json.loads(described)
