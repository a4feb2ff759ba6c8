"""The only place where features meet: builds, rollouts, retraining."""
