"""Measurements of fedsim's own speed, each against a floor that plain PyTorch sets."""
