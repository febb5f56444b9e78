"""How the page is served to a public that may be hostile: what is let in, in what order, and how much of it."""
