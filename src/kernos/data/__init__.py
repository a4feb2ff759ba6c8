"""Files into versioned Parquet datasets; contracts, splits, differences."""
