"""The probes of the crash test: each file asks one question of a network.

`fitted.py` is what those of image-agnostic attacks share.
"""
