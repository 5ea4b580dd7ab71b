"""Pictures of the dashboard for the README."""
