"""CycleGAN (Zhu et al. 2017) as it makes daylight pictures dark: networks, losses, and translation of any size."""
