"""Fairness and quality metrics, gates, model cards."""
