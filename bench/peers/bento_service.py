"""BentoML's side of bench/serving.py: one worker, adaptive batching on."""

from __future__ import annotations

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(
    workers=1, traffic={"timeout": 30}, metrics={"enabled": False}, logging={"access": {"enabled": False}}
)
class Tiny:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            os.environ["MODEL"], options, providers=["CPUExecutionProvider"]
        )

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.session.run(["probabilities"], {"input": rows.astype(np.float32)})[0]
