"""Write scikit-learn's diabetes data where the App reads it: `python data.py FOLDER`.

442 patients, ten measurements in their own units. The target becomes `progressed`: 1 where the disease progressed more than
in the median patient after a year. `rows.json` holds the same rows for a client that plays the patients of tomorrow.
"""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.datasets import load_diabetes


def main(folder: Path) -> None:
    bunch = load_diabetes(scaled=False)
    progressed = (bunch.target > np.median(bunch.target)).astype(np.int64)
    table = pl.DataFrame(bunch.data, schema=list(bunch.feature_names)).with_columns(
        pl.col("sex").cast(pl.Int64), pl.Series("progressed", progressed)
    )
    folder.mkdir(parents=True, exist_ok=True)
    table.write_parquet(folder / "diabetes.parquet")
    (folder / "rows.json").write_text(json.dumps(table.to_dicts()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
