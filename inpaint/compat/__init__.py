"""Drop-in replacements for other libraries' operators and layers, under their names and signatures."""
