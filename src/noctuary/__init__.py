"""noctuary: an autonomous research laboratory for token mixers.

The engine is a plain library: papers become insights, insights gaps, gaps designs, designs
trials, trials findings, and findings open the next cycle. Nothing in this package imports
Prefect; the order of the stages is written in `flows/research_cycle.py`.
"""

__version__ = "0.1.0"
