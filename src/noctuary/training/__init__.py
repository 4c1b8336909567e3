"""How a mixer is trained: the model around it, its Lightning modules, and one trial."""
