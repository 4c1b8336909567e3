"""The search: from what was tried to the designs that are worth trying next.

Parents by a policy, ideas by the operators, screened by a surrogate, known ones refused, diverse
batches, and what is done on a plateau. Everything is a function of the history and a
generator: nothing is remembered between two calls, so a rerun of a cycle proposes the same.
"""
