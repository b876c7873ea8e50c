"""Where releases run: the process target here; Docker and Kubernetes are to come."""
