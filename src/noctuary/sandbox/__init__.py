"""Runs candidate code in processes of its own, with limits on time and memory.

This first version bounds what a broken candidate costs: a loop without end, memory without
bound, an exception, a crash of the interpreter. It is no defence against a hostile one yet.
"""
