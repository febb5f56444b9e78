"""Who looks at the dashboard: name, token, and what they may do."""
