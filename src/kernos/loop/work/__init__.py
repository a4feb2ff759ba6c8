"""What workers do, one file a kind of Run. Each has `run(task) -> result`; none of them sees the catalog."""
