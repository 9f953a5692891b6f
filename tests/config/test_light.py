from __future__ import annotations

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = """
import sys
from stagetrain.config.check import check_pipeline
from stagetrain.config.load import load_pipeline
check_pipeline(load_pipeline('configs/bccd/four_step.yaml', environ={'BCCD': 'x', 'WEIGHTS': 'y'}))
print(sorted(set(sys.modules) & {'tensorflow', 'tf_keras', 'official', 'numpy'}))
"""


def test_reading_and_checking_a_pipeline_leaves_tensorflow_unimported() -> None:
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    result = subprocess.run([sys.executable, '-c', SCRIPT], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == '[]'
