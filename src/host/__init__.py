"""The embedded host: a compact runtime in the shape of EPyMARL.

It has EPyMARL's pieces (batches, controllers, learners, runners, registries, commands and metrics), so that
whatever is registered here runs unchanged in an EPyMARL checkout, and the reverse. It imports nothing of the
package but :mod:`mf_pmd.errors`; games and algorithms reach it through the registries.
"""
