"""Builds networks in a process that belongs to somebody else, such as a notebook, and leaves its generators as they were.

    with undisturbed():
        network = stage_network(pipeline, stage, 'rpn_1')

A network is built after seeding Python's, NumPy's and TensorFlow's generators and with Keras' numbering of layers started again,
so that names and initial values depend on nothing else. In a process that carries a job out nobody else minds.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tf_keras.src import backend

_NO_SEED = 87654321
"""What `tf.compat.v1.get_seed` gives in place of a global seed where none is set."""


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Puts back afterwards: the generators of Python and NumPy, TensorFlow's global seed, Keras' counters of layer names.

    Keras has no public way to read its counters; `tests/stages/test_undisturbed.py` shows that they are put back.
    """
    python, numpy_state = random.getstate(), np.random.get_state()
    (seed, _), generator = tf.compat.v1.get_seed(0), getattr(backend._SEED_GENERATOR, 'generator', None)
    graph, observed = getattr(backend._GRAPH, 'graph', None), set(backend.OBSERVED_NAMES)
    counters = {graph: dict(names) for graph, names in backend.PER_GRAPH_OBJECT_NAME_UIDS.items()}
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        tf.random.set_seed(None if seed == _NO_SEED else seed)
        backend._SEED_GENERATOR.generator = generator
        backend._GRAPH.graph = graph
        backend.OBSERVED_NAMES.update(observed)
        for known, names in counters.items():
            backend.PER_GRAPH_OBJECT_NAME_UIDS.setdefault(known, backend.collections.defaultdict(int)).update(names)
