"""The diabetes App with a mistake that no held-out row shows: a table by age which ends at 99.

The model is as good as any on every row there is, so the gate passes it. In service a patient of 100 makes it fail,
and the canary is rolled back; the live version answers that patient.
"""

import numpy as np
import onnx
import polars as pl
from onnx import helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from kernos import App, Model

app = App("diabetes", target="progressed", sensitive=["sex"])
OLDEST = 99


@app.step
def train(rows: pl.DataFrame) -> Model:
    features = rows.drop("progressed", "sex")
    model = make_pipeline(PolynomialFeatures(2), StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    model.fit(features.to_numpy(), rows["progressed"].to_numpy())
    example = features.head().to_numpy().astype(np.float32)
    graph = to_onnx(model, example, options={"zipmap": False}, target_opset={"": 18, "ai.onnx.ml": 3})
    return Model(onnx=with_age_table(graph, features.columns.index("age")), example=features.head())


def with_age_table(model: onnx.ModelProto, age: int) -> bytes:
    """Add an offset by age to the inputs: zero for every age the table knows, an error beyond it."""
    source = model.graph.input[0].name
    for node in model.graph.node:
        node.input[:] = ["adjusted" if name == source else name for name in node.input]
    constants = {
        "age_column": np.array(age, np.int64),
        "age_offsets": np.zeros(OLDEST + 1, np.float32),
        "last_axis": np.array([1], np.int64),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    table = [
        helper.make_node("Gather", [source, "age_column"], ["age"], axis=1),
        helper.make_node("Cast", ["age"], ["age_index"], to=onnx.TensorProto.INT64),
        helper.make_node("Gather", ["age_offsets", "age_index"], ["offset"]),
        helper.make_node("Unsqueeze", ["offset", "last_axis"], ["offset_column"]),
        helper.make_node("Add", [source, "offset_column"], ["adjusted"]),
    ]
    nodes = [*table, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


@app.flow
def build(source: str = "diabetes.parquet") -> Model:
    return train(app.read(source))


app.gate("accuracy >= 0.65", "not worse than live")
app.serve(build, canary="20% for 5s", rollback="errors > 1%")
