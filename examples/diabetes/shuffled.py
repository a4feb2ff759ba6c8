"""The diabetes App with a mistake that happens: labels joined in the wrong order. The gate refuses what it makes."""

import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kernos import App, Model

app = App("diabetes", target="progressed", sensitive=["sex"])


@app.step
def train(rows: pl.DataFrame) -> Model:
    labels = rows["progressed"].shuffle(seed=7)
    features = rows.drop("progressed", "sex")
    return Model(
        make_pipeline(StandardScaler(), LogisticRegression()).fit(features, labels), example=features.head()
    )


@app.flow
def build(source: str = "diabetes.parquet") -> Model:
    return train(app.read(source))


app.gate("accuracy >= 0.65", "not worse than live")
app.serve(build, canary="20% for 5s", rollback="errors > 1%")
