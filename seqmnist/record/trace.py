"""A timeline of some training steps: time and thread of every op."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from seqmnist import tf1 as tf
from seqmnist.record.folder import write_text


class Tracer:
    """Wraps a session, and records the ops of each `run`.

    Args:
        session: the session.
        first: the first recorded step.

    Attributes:
        first: the first recorded step.
        metadata: a `tf.RunMetadata` per call of `run`.
    """

    def __init__(self, session: tf.Session, first: int) -> None:
        self.first = first
        self._session = session
        self.metadata: list[tf.RunMetadata] = []

    def run(
        self, fetches: Any, feed_dict: Mapping[tf.Tensor, np.ndarray] | None = None
    ) -> Any:
        """Runs the fetches in the session, and records the time of every op."""
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        metadata = tf.RunMetadata()
        with tf.stderr_held_back(
            lambda line: "GPU trace was not collected" not in line
        ):
            values = self._session.run(fetches, feed_dict, options, metadata)
        self.metadata.append(metadata)
        return values

    def write(self, path: Path) -> None:
        """Writes the timeline in Chrome's trace event format.

        Args:
            path: a JSON file; chrome://tracing and https://ui.perfetto.dev open it.

        Raises:
            CannotWrite: disk full, folder gone, not allowed.
        """
        from tensorflow.python.client.timeline import Timeline

        events = []
        for metadata in self.metadata:
            trace = Timeline(metadata.step_stats).generate_chrome_trace_format(
                show_dataflow=False
            )
            events += json.loads(trace)["traceEvents"]
        write_text(path, json.dumps({"traceEvents": events}))
