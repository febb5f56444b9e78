"""Who looks at a tab: name, token, and what they may do."""
