"""How fast a training step is: one thing varied and measured, the limits of a device, and what they predict."""
