"""What exists and what happened: records, names, lineage, journal, blobs."""
