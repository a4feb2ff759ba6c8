"""What a user may declare: App, step, flow, gate, serve, contract. Pure and light to import."""
