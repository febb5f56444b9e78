"""The command line: every command of `gazevlm`."""
