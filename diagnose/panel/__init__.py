"""One result on the page: viewer, answer, findings, dwell and tables."""
