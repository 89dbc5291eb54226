"""The foundation: image encoders, prompt encoder, two-way decoder, checkpoints."""
