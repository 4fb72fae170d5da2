"""Training package of quietwire: data, mixing, network, export, golden vectors, scores."""
