"""Everything that makes pictures dark: a camera at night, a quick sketch of it for training, and CycleGAN."""
