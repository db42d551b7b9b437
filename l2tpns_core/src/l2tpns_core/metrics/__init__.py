"""What Prometheus may ask for (directives metrics_bind_address and metrics_port)."""
