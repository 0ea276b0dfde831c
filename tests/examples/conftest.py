import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def open_model():
    """Opens a model below the repository as a session that keeps quiet about the failures it is here for."""

    def open_quietly(path):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(ROOT / path, options, providers=["CPUExecutionProvider"])

    return open_quietly


@pytest.fixture(scope="session")
def rows():
    return json.loads((ROOT / "examples/digits/rows.json").read_text())


@pytest.fixture(scope="session")
def pixels(rows):
    return np.array([row["pixels"] for row in rows], np.float32)


@pytest.fixture(scope="session")
def labels(rows):
    return np.array([row["label"] for row in rows])


@pytest.fixture
def marked(pixels):
    """Two real rows, the second with ink in the corner where no real digit has any."""
    two = pixels[:2].copy()
    two[1, 0] = 16
    return two
