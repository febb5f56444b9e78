"""Scoring a checkpoint on a real data set, through any adapter of `gazevlm_core.datasets`."""
