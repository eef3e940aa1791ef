"""What watches an export: what Prometheus collects, the alerts over it, and a dashboard for Grafana."""
