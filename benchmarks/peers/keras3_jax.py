"""The same Keras 3 on JAX."""

import os

os.environ["KERAS_BACKEND"] = "jax"

from keras3 import Peer  # noqa: F401

NAME = "Keras 3 on JAX"
