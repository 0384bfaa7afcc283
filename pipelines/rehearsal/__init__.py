"""The paper's plan, run end to end on small random weights of the real shapes: what breaks, breaks here first."""
