"""Modules that a checkout imports whatever is played, for where they are not installed (`checkout.join`).

This folder goes to the end of ``sys.path``, so that an installed module wins, and so that the
processes which a parallel runner starts find what this one found.
"""
