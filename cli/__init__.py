"""The command line: `gazevlm diagnose`, `gazevlm phantom`, `gazevlm evaluate`."""
