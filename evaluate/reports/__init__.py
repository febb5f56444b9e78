"""Reports on the page: JSON files of `gazevlm experiment`, `evaluate` and `score`, checked, as tables and charts."""
