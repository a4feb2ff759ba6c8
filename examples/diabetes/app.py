"""Diabetes: table -> clean -> train -> gate -> signed package -> canary -> drift -> retrain."""

import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from kernos import App, Model

app = App("diabetes", target="progressed", sensitive=["sex"])
app.contract(
    age="float 18..120", sex="int in 1,2", bmi="float 10..70", bp="float 40..200", s1="float 0..600", s2="float 0..500",
    s3="float 0..200", s4="float 0..20", s5="float 0..10", s6="float 0..400", progressed="int in 0,1",
)  # fmt: skip


@app.step
def clean(raw: pl.DataFrame) -> pl.DataFrame:
    return raw.drop_nulls().filter(pl.col("bmi").is_between(10, 70))


@app.step(cpus=1, memory="1GiB", priority="batch")
def train(rows: pl.DataFrame, C: float = 1.0) -> Model:
    X, y = rows.drop("progressed", "sex"), rows["progressed"]
    model = make_pipeline(
        PolynomialFeatures(2), StandardScaler(), LogisticRegression(C=C, max_iter=1000)
    ).fit(X, y)
    return Model(model, example=X.head())


@app.flow(tune={"C": (0.001, 10.0)}, trials=8, every="on drift, at most daily")
def build(source: str = "diabetes.parquet") -> Model:
    return train(clean(app.read(source)))


app.gate("accuracy >= 0.65", "parity_gap(sex) <= 0.30", "not worse than live")
app.serve(build, canary="20% for 5s", rollback="errors > 1% or p99 > 250ms", explain=True)
