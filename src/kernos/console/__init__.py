"""Server-rendered pages over the API's view-models."""
