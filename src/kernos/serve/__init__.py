"""Deployments: routes, canary, prediction log."""
