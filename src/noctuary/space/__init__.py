"""The design space: mechanisms, genomes, operators on them, and their Python source."""
